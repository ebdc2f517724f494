package outbox

import (
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// overlaid applies the batch's changes to the stored children of a parent.
func (m *Mirror) overlaid(stored []cdc.Row, parent parentID) []cdc.Row {
	changed := m.byParent[parent]
	if len(stored)+len(changed) == 0 {
		return nil
	}
	rows := make(map[cdc.Key]cdc.Row, len(stored)+len(changed))
	for _, row := range stored {
		key, err := parent.table.KeyOf(row)
		if err != nil {
			continue // impossible: a stored row has its key columns
		}
		if _, ok := m.batch[rowID{parent.table, key}]; !ok {
			rows[key] = row
		}
	}
	for key := range changed {
		rows[key] = m.batch[rowID{parent.table, key}]
	}
	keys := make([]cdc.Key, 0, len(rows))
	for key := range rows {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b cdc.Key) int { return strings.Compare(string(a), string(b)) })
	sorted := make([]cdc.Row, len(keys))
	for i, key := range keys {
		sorted[i] = rows[key]
	}
	return sorted
}

// Apply makes a resolved change visible to the rest of the batch.
func (m *Mirror) Apply(c *cdc.Change) {
	id, row := rowID{c.Relation.Table, c.Key}, c.New
	if c.Op == cdc.Delete {
		row = nil
	}
	row = keepAbsent(row, c.Old)
	if by, ok := m.parents[id.table]; ok {
		if before, ok := parentOf(id.table, m.batch[id], by); ok {
			delete(m.byParent[before], id.key)
		}
		if parent, ok := parentOf(id.table, row, by); ok {
			if m.byParent[parent] == nil {
				m.byParent[parent] = map[cdc.Key]struct{}{}
			}
			m.byParent[parent][id.key] = struct{}{}
		}
	}
	m.batch[id] = row
}

// parentOf returns the row's parent, if it has one.
func parentOf(table *cdc.Table, row cdc.Row, by int) (parentID, bool) {
	if by >= len(row) || row[by].Kind != cdc.Text {
		return parentID{}, false
	}
	return parentID{table, cdc.Key(row[by].Text)}, true
}

// Write adds the batch's changes to the chunk.
func (m *Mirror) Write(chunk *Chunk) {
	for id, row := range m.batch {
		if row == nil {
			if _, absent := m.absent[id]; !absent {
				chunk.Delete(id.table, id.key)
			}
			continue
		}
		chunk.upsert(id.table, id.key, row, m.parents, m.keys)
	}
}

// Committed moves the batch's rows to the cache, now that they are stored.
func (m *Mirror) Committed() {
	for id, row := range m.batch {
		if row == nil {
			m.hot.drop(id)
		} else {
			m.hot.put(id, row)
		}
	}
	m.clearBatch()
}
