package engine

import (
	"bytes"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// A change of children is an update of their parent: at the parent's own update, if the transaction has one, or else at the
// first change of its children. It is none if the parent comes or goes in the transaction. Children are compared by what they
// show, so that rows that are rewritten under new keys are no change.

// observeChildren notes which parents have changed children, and which rows with children change themselves.
func (t *Transaction) observeChildren(c *cdc.Change, change rowChange, applies bool) {
	table := change.bound.Table
	if len(table.Children) > 0 {
		if applies && change.op == cdc.Update {
			t.updatedParents.add(table, c.Key)
		} else {
			t.cameOrWent.add(table, c.Key)
		}
	}
	for _, of := range table.ChildOf {
		t.needsBefore = true
		eachParent(c, of.Children.By, func(parent cdc.Key) {
			t.touched.add(table, parent)
			t.countCandidates(of.Parent.Rules[cdc.Update])
		})
	}
}

// eachParent calls each with the keys that the old and the new row of a child have in the column.
func eachParent(c *cdc.Change, by int, each func(cdc.Key)) {
	var before cdc.Value
	if c.Op != cdc.Insert {
		before = rules.ValueAt(c.Old, by)
	}
	if before.Kind == cdc.Text {
		each(cdc.Key(before.Text))
	}
	if after := rules.ValueAt(c.New, by); after.Kind == cdc.Text && after != before {
		each(cdc.Key(after.Text))
	}
}

// parentUpdates calls each with the updates of parents that a change of a child stands for. done holds the parents that earlier
// changes stood for.
func (t *Transaction) parentUpdates(c *cdc.Change, done *keySet, each func(rowChange) error) error {
	bound := t.m.binding.ByCDC[c.Relation.Table]
	if bound == nil || len(bound.Table.ChildOf) == 0 || c.Op == cdc.Truncate {
		return nil
	}
	var failed error
	for _, of := range bound.Table.ChildOf {
		eachParent(c, of.Children.By, func(key cdc.Key) {
			if failed != nil || done.has(of.Parent, key) {
				return
			}
			done.add(of.Parent, key)
			if t.cameOrWent.has(of.Parent, key) || t.updatedParents.has(of.Parent, key) {
				return
			}
			parent := t.bound(of.Parent)
			row := t.parentRow(of.Parent, key)
			if row == nil || t.m.isSoftDeleted(parent, row) {
				return
			}
			failed = each(rowChange{bound: parent, op: cdc.Update, row: row, old: row})
		})
	}
	return failed
}

// changedChildren returns the children of an updated row that show something else than before the transaction. The next call
// reuses the result.
func (t *Transaction) changedChildren(change rowChange) []*rules.Children {
	m := t.m
	m.children = m.children[:0]
	if len(t.touched) == 0 {
		return nil
	}
	key := cdc.Key(rules.ValueAt(change.row, 0).Text)
	for _, c := range change.bound.Table.Children {
		if t.touched.has(c.Table, key) && t.childrenDiffer(c, change.row) {
			m.children = append(m.children, c)
		}
	}
	return m.children
}

// childrenDiffer compares what the children of a row show. Children that are too many to be compared count as changed.
func (t *Transaction) childrenDiffer(c *rules.Children, row cdc.Row) bool {
	before, after := renderer{t: t}, renderer{t: t}
	then := before.children(nil, c, row, true)
	now := after.children(nil, c, row, false)
	return before.tooLarge || after.tooLarge || !bytes.Equal(then, now)
}
