package rules

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// Binding holds rules that were checked against the tables of a database.
type Binding struct {
	Rules  *Set
	Tables []*BoundTable
	ByCDC  map[*cdc.Table]*BoundTable
}

// bound returns the table with the types that its columns have.
func (b *Binding) bound(t *Table) *BoundTable { return b.Tables[t.Index] }

// BoundTable is a table with the types that its columns have in the database.
type BoundTable struct {
	Table    *Table
	Relation *cdc.Relation // as last seen; nil for an optional table that the database does not have
	OIDs     []uint32      // 0 for a column that the database does not have
	Formats  []value.Format
	// broken is the reason why the relation cannot be mapped: its types changed so that a condition no longer type-checks.
	broken error
}

// setTypes sets the column types from OIDs, which may be nil.
func (b *BoundTable) setTypes(oids []uint32) {
	clear(b.OIDs)
	copy(b.OIDs, oids)
	for i := range b.Formats {
		b.Formats[i] = value.Format{Type: value.TypeOfOID[b.OIDs[i]], Spec: b.Table.Formats[i]}
		if b.Table.CDC.Columns[i].Hash {
			b.Formats[i].Type = value.Type{Kind: value.Text}
		}
	}
}

// TableOf returns the mapped table of a relation, or nil if it is not mapped. If the column types have changed since the
// last call, it checks the rules again.
func (b *Binding) TableOf(relation *cdc.Relation) (*BoundTable, error) {
	bound := b.ByCDC[relation.Table]
	if bound == nil {
		i := slices.IndexFunc(b.Rules.Mapped, func(t *Table) bool { return t.CDC.Name == relation.Name && t.CDC.Schema == relation.Schema })
		if i < 0 {
			return nil, nil //nolint:nilnil // a table that is not mapped is not an error
		}
		bound = b.Tables[i]
		b.ByCDC[relation.Table] = bound
	}
	if bound.Relation == relation {
		return bound, bound.broken
	}
	same := bound.Relation != nil && slices.Equal(relation.Types, bound.OIDs)
	bound.Relation = relation
	if same {
		return bound, bound.broken
	}
	bound.setTypes(relation.Types)
	var p Problems
	bound.checkSecrets(&p)
	for _, t := range b.Rules.Mapped {
		if t == bound.Table || slices.ContainsFunc(t.Parents, func(p Parent) bool { return p.Table == bound.Table }) {
			b.checkConditions(t, &p)
		}
	}
	bound.broken = p.Err()
	return bound, bound.broken
}
