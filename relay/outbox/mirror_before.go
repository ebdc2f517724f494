package outbox

import (
	"context"
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
)

// Keep adds the old version of a changed row to the chunk if the rows of its table have a parent.
func (m *Mirror) Keep(chunk *Chunk, c *cdc.Change) {
	by, ok := m.parents[c.Relation.Table]
	if !ok {
		return
	}
	before := StoredRow{StoredKey: StoredKey{c.Relation.Name, storedKey(c.Key)}}
	if c.Op != cdc.Insert && by < len(c.Old) && c.Old[by].Kind == cdc.Text {
		parent := indexed(c.Old[by].Text)
		before.Parent, before.Fields = &parent, storedFields(c.Relation.Table, before.Key, c.Old, m.keys)
	}
	chunk.Before = append(chunk.Before, before)
	chunk.Bytes += 100 + len(before.Key) + len(before.Fields)
}

// clearBefore empties mirror_before.
func (t *Large) clearBefore(ctx context.Context) error {
	if !t.before {
		return nil
	}
	if _, err := t.tx.Exec(ctx, `DELETE FROM mirror_before`); err != nil {
		return fmt.Errorf("empty table mirror_before: %w", err)
	}
	return nil
}

// ChildrenBefore returns the rows of table that belonged to the parent before the transaction, in key order. Like Children, it returns none if they
// do not fit into memory.
func (m *Mirror) ChildrenBefore(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !m.large {
		return m.Children(table, by, parent) // the mirror does not include the transaction yet
	}
	return m.storedChildren(parentID{table, parent}, m.before, &m.wantBefore)
}
