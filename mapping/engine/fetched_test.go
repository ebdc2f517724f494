package engine

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

var _ Rows = (*fetched)(nil)

// fetched holds the rows that Refs and RefsOf reported. Mapping must not ask for others, which the relay would not have.
type fetched struct {
	w        *world
	mirror   mappingtest.Mirror
	allowed  map[Ref]bool
	previous mappingtest.Mirror // before the transaction, if mirror is after it; else nil
	anything bool
}

func (f *fetched) Row(table *cdc.Table, key cdc.Key) cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: key}] {
		f.w.t.Errorf("mapping asked for %s %s, which Refs did not report", table.Name, key)
	}
	return f.mirror.Get(table, key)
}

func (f *fetched) ChildrenBefore(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: parent, By: by}] && !f.allowed[Ref{Table: table, Key: parent, By: by, Before: true}] {
		f.w.t.Errorf("mapping asked for the children before the transaction of %s in %s, which Refs did not report", parent, table.Name)
	}
	return f.previousMirror().ChildrenOf(table, by, parent)
}

func (f *fetched) previousMirror() mappingtest.Mirror {
	if f.previous != nil {
		return f.previous
	}
	return f.mirror
}

func (f *fetched) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: parent, By: by}] {
		f.w.t.Errorf("mapping asked for the children of %s in %s, which Refs did not report", parent, table.Name)
	}
	return f.mirror.ChildrenOf(table, by, parent)
}
