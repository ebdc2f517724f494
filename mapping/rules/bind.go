package rules

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// Bind checks the rules against the tables of a database: that the columns exist (optional ones may be missing), that
// conditions compare values of the same type, that formats fit the column types, and that no secret is read into a payload
// The error is an *[Error] with all problems.
func (r *Set) Bind(relations []*cdc.Relation) (*Binding, error) {
	b := &Binding{Rules: r, ByCDC: make(map[*cdc.Table]*BoundTable, len(r.Mapped))}
	var p Problems
	for _, t := range r.Mapped {
		bound := &BoundTable{Table: t, OIDs: make([]uint32, len(t.CDC.Columns)), Formats: make([]value.Format, len(t.CDC.Columns))}
		b.Tables = append(b.Tables, bound)
		b.ByCDC[t.CDC] = bound
		i := slices.IndexFunc(relations, func(rel *cdc.Relation) bool {
			return rel.Table == t.CDC || (rel.Schema == t.CDC.Schema && rel.Name == t.CDC.Name)
		})
		if i < 0 {
			if !t.CDC.Optional {
				p.Add(t.At, "the database has no table %s.%s; if some versions of the IAM lack it, set optional = true", t.CDC.Schema, t.Name())
			}
			bound.setTypes(nil)
			bound.checkSecrets(&p) // The table may be created later.
			continue
		}
		bound.Relation = relations[i]
		bound.setTypes(relations[i].Types)
		bound.checkColumns(&p)
		bound.checkSecrets(&p)
	}
	for _, t := range r.Mapped {
		b.checkConditions(t, &p)
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return b, nil
}

// checkColumns reports columns that the database does not have, and formats that do not fit a column's type.
func (b *BoundTable) checkColumns(p *Problems) {
	for i, oid := range b.OIDs {
		if oid == 0 && !b.Table.Optional[i] {
			p.Add(b.Table.At, "table %s.%s has no column %q; if some versions of the IAM lack it, list it under optional_columns",
				b.Table.CDC.Schema, b.Table.Name(), b.Table.CDC.Columns[i].Name)
		}
		if spec := b.Table.Formats[i]; spec != nil && oid != 0 {
			if mismatch := spec.Mismatch(b.Formats[i].Type); mismatch != "" {
				p.Add(b.Table.At, "format.%s of %s %s", b.Table.CDC.Columns[i].Name, b.Table.Name(), mismatch)
			}
		}
	}
}

// checkConditions type-checks every condition on a table.
func (b *Binding) checkConditions(t *Table, p *Problems) {
	check := func(c *Condition) {
		if c == nil || b.Tables[c.Table.Index].Relation == nil {
			return
		}
		if err := c.TypeCheck(b); err != nil {
			p.Add(c.At, "condition %q on table %s: %s", c.Source, t.Name(), FirstLine(err))
		}
	}
	check(t.Deleted)
	for _, c := range t.ChildOf {
		check(c.Children.Where)
	}
	if t == b.Rules.Tenant {
		check(b.Rules.RootTenant)
	}
	checked := map[*Rule]bool{}
	for _, rules := range t.Rules {
		for _, r := range rules {
			if !checked[r] {
				checked[r] = true
				check(r.Becomes)
				check(r.When)
				check(r.delayCondition())
			}
		}
	}
}
