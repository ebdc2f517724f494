package engine

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// observeParent notes whether a row that others refer to was inserted or deleted. A row whose key changed was neither.
func (t *Transaction) observeParent(c *cdc.Change, change rowChange) {
	table := change.bound.Table
	t.needsBefore = t.needsBefore || change.op == cdc.Delete && table.Collects
	if !table.IsParent {
		return
	}
	if c.Moved && change.op != cdc.Delete {
		t.moved.add(table, c.OldKey)
	}
	switch {
	case change.op == cdc.Delete:
		t.deleted.add(table, c.Key)
	case change.op == cdc.Insert && table.AbsorbsInserts && !c.Moved:
		t.inserted.add(table, c.Key)
	}
}

// deletedParent reports whether the transaction deleted a row that others refer to.
func (t *Transaction) deletedParent(table *rules.Table, key cdc.Key) bool {
	return t.deleted.has(table, key) && !t.moved.has(table, key)
}

// absorbedBy returns the table of a parent together with which the row was inserted or deleted, or nil.
func (t *Transaction) absorbedBy(change rowChange) *rules.Table {
	with := t.deletedParent
	if change.op == cdc.Insert {
		with = t.inserted.has
	}
	if change.op == cdc.Update || len(t.deleted)+len(t.inserted) == 0 {
		return nil
	}
	parents := change.bound.Table.Parents
	i := slices.IndexFunc(parents, func(p rules.Parent) bool {
		v := rules.ValueAt(change.row, p.Column)
		return !p.LookupOnly && v.Kind == cdc.Text && with(p.Table, cdc.Key(v.Text))
	})
	if i < 0 {
		return nil
	}
	return parents[i].Table
}

// onlyLostParents reports whether an update only set references to null whose rows this transaction deleted: ON DELETE SET
// NULL.
func (t *Transaction) onlyLostParents(change rowChange, differs []bool) bool {
	if len(t.deleted) == 0 {
		return false
	}
	lost := false
	for i, d := range differs {
		if !d {
			continue
		}
		parent, ok := change.bound.Table.ParentOf(i)
		if !ok || rules.ValueAt(change.row, i).Kind != cdc.Null {
			return false
		}
		before := rules.ValueAt(change.old, i)
		if before.Kind != cdc.Text || !t.deletedParent(change.bound.Table.Parents[parent].Table, cdc.Key(before.Text)) {
			return false
		}
		lost = true
	}
	return lost
}
