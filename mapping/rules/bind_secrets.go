package rules

import "github.com/iam-relay/iam-relay/mapping/secret"

// checkSecrets reports the columns that must not be read.
func (b *BoundTable) checkSecrets(p *Problems) {
	t := b.Table
	for i := range t.CDC.Columns {
		c := &t.CDC.Columns[i]
		if t.Secret[i] || t.Public[i] || c.Hash {
			continue
		}
		if reason := secret.Reason(c.Name, b.OIDs[i]); reason != "" {
			p.Add(t.FirstNamed[i], "%q of %s %s; remove it, list it under hash to read only its SHA-256, or list it under public if it is not a secret",
				c.Name, t.Name(), reason)
		}
	}
}

// PublicColumns returns the columns that look like secrets and are declared public, as table.column.
func (b *Binding) PublicColumns() []string {
	var out []string
	for _, bound := range b.Tables {
		for i, c := range bound.Table.CDC.Columns {
			if bound.Relation != nil && bound.Table.Public[i] && secret.Reason(c.Name, bound.OIDs[i]) != "" {
				out = append(out, bound.Table.Name()+"."+c.Name)
			}
		}
	}
	return out
}
