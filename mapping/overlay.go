package mapping

import (
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// keySet holds keys of tables as 128-bit hashes: a transaction that deletes a million rows must not keep a million strings.
type keySet map[[2]uint64]struct{}

var keySeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hashKey(t *table, key cdc.Key) [2]uint64 {
	return [2]uint64{
		maphash.String(keySeeds[0], string(key)) + uint64(t.index)*0x9e3779b97f4a7c15,
		maphash.String(keySeeds[1], string(key)),
	}
}

func (s *keySet) add(t *table, key cdc.Key) {
	if *s == nil {
		*s = keySet{}
	}
	(*s)[hashKey(t, key)] = struct{}{}
}

func (s keySet) has(t *table, key cdc.Key) bool {
	if len(s) == 0 {
		return false
	}
	_, ok := s[hashKey(t, key)]
	return ok
}

// written holds what the transaction did to the rows of one table: the row as it is after, nil if it was deleted.
type written struct {
	rows map[cdc.Key]cdc.Row
	// by indexes the rows that are there by a column, on demand.
	by map[int]map[cdc.Key][]cdc.Key
}

func (w *written) add(key cdc.Key, row cdc.Row) {
	if w.rows == nil {
		w.rows = map[cdc.Key]cdc.Row{}
	}
	w.rows[key], w.by = row, nil
}

func (w *written) childrenOf(by int, parent cdc.Key) []cdc.Key {
	if index, ok := w.by[by]; ok {
		return index[parent]
	}
	index := map[cdc.Key][]cdc.Key{}
	for key, row := range w.rows {
		if v := at(row, by); v.Kind == cdc.Text {
			index[cdc.Key(v.Text)] = append(index[cdc.Key(v.Text)], key)
		}
	}
	if w.by == nil {
		w.by = map[int]map[cdc.Key][]cdc.Key{}
	}
	w.by[by] = index
	return index[parent]
}

// parentRow implements lookup: the row as it is after the transaction, or as it was before if the transaction deleted it.
func (t *Transaction) parentRow(table *table, key cdc.Key) cdc.Row {
	if t.written != nil {
		if row := t.written[table.index].rows[key]; row != nil {
			return row
		}
	}
	if t.m.tables[table.index].relation == nil {
		return nil
	}
	return t.rows.Row(table.cdc, key)
}

// bound implements lookup.
func (t *Transaction) bound(table *table) *boundTable { return t.m.tables[table.index] }

// children are the rows that refer to a row, in key order: as they are after the transaction, or were before it.
func (t *Transaction) children(c *collect, parent cdc.Key, before bool) []cdc.Row {
	if t.m.tables[c.table.index].relation == nil {
		return nil
	}
	if before {
		return t.rows.Former(c.table.cdc, c.by, parent)
	}
	mirrored := t.rows.Children(c.table.cdc, c.by, parent)
	if !t.overlay {
		return t.remaining(c.table, mirrored)
	}
	if t.written == nil || len(t.written[c.table.index].rows) == 0 {
		return mirrored
	}
	w := &t.written[c.table.index]
	type child struct {
		key cdc.Key
		row cdc.Row
	}
	var all []child
	for _, row := range mirrored {
		key, err := c.table.cdc.KeyOf(row)
		if err != nil {
			continue // A mirrored row has its key.
		}
		if _, touched := w.rows[key]; !touched {
			all = append(all, child{key, row})
		}
	}
	for _, key := range w.childrenOf(c.by, parent) {
		all = append(all, child{key, w.rows[key]})
	}
	slices.SortFunc(all, func(a, b child) int { return cmp.Compare(a.key, b.key) })
	rows := make([]cdc.Row, len(all))
	for i, one := range all {
		rows[i] = one.row
	}
	return rows
}

// remaining leaves out rows that the transaction deleted.
func (t *Transaction) remaining(table *table, rows []cdc.Row) []cdc.Row {
	if len(t.removed) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row cdc.Row) bool {
		key, err := table.cdc.KeyOf(row)
		return err == nil && t.removed.has(table, key)
	})
}
