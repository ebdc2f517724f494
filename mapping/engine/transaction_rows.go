package engine

import (
	"cmp"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// keySet is a set of row keys, stored as 128-bit hashes: a transaction may delete millions of rows.
type keySet map[[2]uint64]struct{}

func (s *keySet) add(t *rules.Table, key cdc.Key) {
	if *s == nil {
		*s = keySet{}
	}
	(*s)[hashRow(t.CDC, key)] = struct{}{}
}

func (s keySet) has(t *rules.Table, key cdc.Key) bool {
	if len(s) == 0 {
		return false
	}
	_, ok := s[hashRow(t.CDC, key)]
	return ok
}

// writtenRows holds the rows of one table that the transaction wrote: the row after the transaction, or nil if it was deleted.
type writtenRows struct {
	rows map[cdc.Key]cdc.Row
	// by indexes the existing rows by a column. An index is built when it is first needed.
	by map[int]map[cdc.Key][]cdc.Key
}

func (w *writtenRows) add(key cdc.Key, row cdc.Row) {
	if w.rows == nil {
		w.rows = map[cdc.Key]cdc.Row{}
	}
	w.rows[key], w.by = row, nil
}

func (w *writtenRows) childrenOf(by int, parent cdc.Key) []cdc.Key {
	if index, ok := w.by[by]; ok {
		return index[parent]
	}
	index := map[cdc.Key][]cdc.Key{}
	for key, row := range w.rows {
		if v := rules.ValueAt(row, by); v.Kind == cdc.Text {
			index[cdc.Key(v.Text)] = append(index[cdc.Key(v.Text)], key)
		}
	}
	if w.by == nil {
		w.by = map[int]map[cdc.Key][]cdc.Key{}
	}
	w.by[by] = index
	return index[parent]
}

func (t *Transaction) recordWritten(table *rules.Table, c *cdc.Change) {
	if c.Op == cdc.Truncate {
		return
	}
	if t.written == nil {
		t.written = make([]writtenRows, len(t.m.binding.Tables))
	}
	t.written[table.Index].add(c.Key, c.New)
}

// transactionLookup looks up rows as they are after the transaction.
type transactionLookup struct{ t *Transaction }

func (l transactionLookup) ParentRow(table *rules.Table, key cdc.Key) cdc.Row {
	return l.t.parentRow(table, key)
}

func (l transactionLookup) Bound(table *rules.Table) *rules.BoundTable { return l.t.bound(table) }

// parentRow returns the row after the transaction, or before it if the transaction deleted the row.
func (t *Transaction) parentRow(table *rules.Table, key cdc.Key) cdc.Row {
	if t.written != nil {
		if row := t.written[table.Index].rows[key]; row != nil {
			return row
		}
	}
	if t.m.binding.Tables[table.Index].Relation == nil {
		return nil
	}
	return t.rows.Row(table.CDC, key)
}

func (t *Transaction) bound(table *rules.Table) *rules.BoundTable {
	return t.m.binding.Tables[table.Index]
}

// children returns the rows that refer to a row, in key order, as they are after the transaction or were before it.
func (t *Transaction) children(c *rules.Collect, parent cdc.Key, before bool) []cdc.Row {
	if t.m.binding.Tables[c.Table.Index].Relation == nil {
		return nil
	}
	if before {
		return t.rows.ChildrenBefore(c.Table.CDC, c.By, parent)
	}
	mirrored := t.rows.Children(c.Table.CDC, c.By, parent)
	if !t.overlay {
		return t.withoutRemoved(c.Table, mirrored)
	}
	if t.written == nil || len(t.written[c.Table.Index].rows) == 0 {
		return mirrored
	}
	w := &t.written[c.Table.Index]
	type child struct {
		key cdc.Key
		row cdc.Row
	}
	var all []child
	for _, row := range mirrored {
		key, err := c.Table.CDC.KeyOf(row)
		if err != nil {
			continue // A mirrored row always has its key.
		}
		if _, written := w.rows[key]; !written {
			all = append(all, child{key, row})
		}
	}
	for _, key := range w.childrenOf(c.By, parent) {
		all = append(all, child{key, w.rows[key]})
	}
	slices.SortFunc(all, func(a, b child) int { return cmp.Compare(a.key, b.key) })
	rows := make([]cdc.Row, len(all))
	for i, one := range all {
		rows[i] = one.row
	}
	return rows
}

// withoutRemoved returns the rows without those that the transaction deleted.
func (t *Transaction) withoutRemoved(table *rules.Table, rows []cdc.Row) []cdc.Row {
	if len(t.removed) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row cdc.Row) bool {
		key, err := table.CDC.KeyOf(row)
		return err == nil && t.removed.has(table, key)
	})
}
