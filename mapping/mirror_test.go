package mapping

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// mirror stands for the relay's copy of the mapped rows.
type mirror map[*cdc.Table]map[cdc.Key]cdc.Row

func (m mirror) row(table *cdc.Table, key cdc.Key) cdc.Row { return m[table][key] }

func (m mirror) put(table *cdc.Table, row cdc.Row) cdc.Key {
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

func (m mirror) children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	var out []cdc.Row
	for _, key := range slices.Sorted(maps.Keys(m[table])) {
		if row := m[table][key]; row[by].Text == string(parent) {
			out = append(out, row)
		}
	}
	return out
}

func (m mirror) apply(changes []cdc.Change) {
	for _, c := range changes {
		if c.Op == cdc.Delete {
			delete(m[c.Relation.Table], c.Key)
		} else {
			m.put(c.Relation.Table, c.New)
		}
	}
}

var _ Rows = (*fetched)(nil)

// fetched holds the rows that Refs and RefsOf reported. Mapping must not ask for others, which the relay would not have.
type fetched struct {
	w        *world
	mirror   mirror
	allowed  map[Ref]bool
	previous mirror // before the transaction, if mirror is after it; else nil
	anything bool
}

func (f *fetched) Row(table *cdc.Table, key cdc.Key) cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: key}] {
		f.w.t.Errorf("mapping asked for %s %s, which Refs did not report", table.Name, key)
	}
	return f.mirror.row(table, key)
}

func (f *fetched) ChildrenBefore(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: parent, By: by}] && !f.allowed[Ref{Table: table, Key: parent, By: by, Before: true}] {
		f.w.t.Errorf("mapping asked for the children before the transaction of %s in %s, which Refs did not report", parent, table.Name)
	}
	return f.previousMirror().children(table, by, parent)
}

func (f *fetched) previousMirror() mirror {
	if f.previous != nil {
		return f.previous
	}
	return f.mirror
}

func (f *fetched) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: parent, By: by}] {
		f.w.t.Errorf("mapping asked for the children of %s in %s, which Refs did not report", parent, table.Name)
	}
	return f.mirror.children(table, by, parent)
}
