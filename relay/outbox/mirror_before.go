package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// beforeRows are child rows as they were before a large transaction, for table mirror_before: while such a transaction is mapped, the
// mirror already includes it. A row that did not exist has neither parent nor fields.
type beforeRows struct {
	tables, keys    []string
	parents, fields []*string
}

// Keep adds the old version of a changed row to the chunk if the rows of its table have a parent.
func (m *Mirror) Keep(chunk *Chunk, c *cdc.Change) {
	by, ok := m.parents[c.Relation.Table]
	if !ok {
		return
	}
	b, stored := &chunk.before, storedKey(c.Key)
	b.tables, b.keys = append(b.tables, c.Relation.Name), append(b.keys, stored)
	var parent, fields *string
	if c.Op != cdc.Insert && by < len(c.Old) && c.Old[by].Kind == cdc.Text {
		key, text := indexed(c.Old[by].Text), string(appendRow(nil, c.Relation.Table, stored, c.Old, m.keys))
		parent, fields = &key, &text
		chunk.Bytes += len(text)
	}
	b.parents, b.fields = append(b.parents, parent), append(b.fields, fields)
	chunk.Bytes += 100 + len(stored)
}

func (b *beforeRows) queue(batch *pgx.Batch) {
	size := func(i int) int {
		if b.fields[i] == nil {
			return len(b.keys[i])
		}
		return len(b.keys[i]) + len(*b.fields[i])
	}
	eachPiece(len(b.keys), size, func(from, to int) {
		batch.Queue(`INSERT INTO mirror_before (table_name, key, parent, fields) SELECT table_name, key, parent, fields::json
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(table_name, key, parent, fields)`,
			b.tables[from:to], b.keys[from:to], b.parents[from:to], b.fields[from:to])
	})
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

// queueBefore reads the mirrored rows that the transaction did not touch, and the old versions of those that it did.
func (m *Mirror) queueBefore(batch *pgx.Batch) map[storedID]parentID {
	wanted, names, parents := distinct(m.wantBefore)
	m.wantBefore = m.wantBefore[:0]
	if len(wanted) > 0 {
		batch.Queue(`WITH w AS (SELECT * FROM unnest($1::text[], $2::text[]) AS w(table_name, parent))
			SELECT m.table_name, m.parent, m.fields::text, m.key FROM w JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.parent = w.parent COLLATE "C"
			WHERE m.parent IS NOT NULL AND NOT EXISTS (SELECT FROM mirror_before f WHERE f.key = m.key AND f.table_name = m.table_name)
			UNION ALL
			SELECT f.table_name, f.parent, f.fields::text, f.key FROM w JOIN mirror_before f ON f.parent = w.parent COLLATE "C" AND f.table_name = w.table_name COLLATE "C"
			ORDER BY 1, 4`, names, parents)
	}
	return wanted
}
