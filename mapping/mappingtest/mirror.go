// Package mappingtest holds what the tests of the mapping share: schemas, rows and options.
package mappingtest

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// AnyRows is a mirror without checks of what is asked for.
type AnyRows struct{ Mirror }

// Row implements engine.Rows.
func (a AnyRows) Row(table *cdc.Table, key cdc.Key) cdc.Row { return a.Get(table, key) }

// ChildrenBefore implements engine.Rows.
func (a AnyRows) ChildrenBefore(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	return a.ChildrenOf(table, by, parent)
}

// Children implements engine.Rows.
func (a AnyRows) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	return a.ChildrenOf(table, by, parent)
}

// Mirror stands for the relay's copy of the mapped rows.
type Mirror map[*cdc.Table]map[cdc.Key]cdc.Row

// Get returns a row, or nil.
func (m Mirror) Get(table *cdc.Table, key cdc.Key) cdc.Row { return m[table][key] }

// Put stores a row and returns its key.
func (m Mirror) Put(table *cdc.Table, row cdc.Row) cdc.Key {
	key, err := table.KeyOf(row)
	if err != nil {
		panic(err)
	}
	if m[table] == nil {
		m[table] = map[cdc.Key]cdc.Row{}
	}
	m[table][key] = row
	return key
}

// ChildrenOf returns the rows of the table whose column by holds the parent's key, in key order.
func (m Mirror) ChildrenOf(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	var out []cdc.Row
	for _, key := range slices.Sorted(maps.Keys(m[table])) {
		if row := m[table][key]; row[by].Text == string(parent) {
			out = append(out, row)
		}
	}
	return out
}

// Apply brings the rows to their state after the changes.
func (m Mirror) Apply(changes []cdc.Change) {
	for _, c := range changes {
		if c.Op == cdc.Delete {
			delete(m[c.Relation.Table], c.Key)
		} else {
			m.Put(c.Relation.Table, c.New)
		}
	}
}
