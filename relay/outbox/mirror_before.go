package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// While a large transaction is mapped, the mirror is as of after it. What collected rows were before it is in a table of its own,
// which is empty but for that time.

// formerRows are rows of tables with an owner as they were before the transaction; those that were not there have neither owner nor
// fields.
type formerRows struct {
	tables, keys   []string
	owners, fields []*string
}

// Keep notes in a chunk what a changed row was before, if rows of its table are collected.
func (m *Mirror) Keep(chunk *Chunk, c *cdc.Change) {
	by, owned := m.owners[c.Relation.Table]
	if !owned {
		return
	}
	f, stored := &chunk.former, storedKey(c.Key)
	f.tables, f.keys = append(f.tables, c.Relation.Name), append(f.keys, stored)
	var owner, fields *string
	if c.Op != cdc.Insert && by < len(c.Old) && c.Old[by].Kind == cdc.Text {
		parent, text := indexed(c.Old[by].Text), string(appendRow(nil, c.Relation.Table, stored, c.Old, m.keys))
		owner, fields = &parent, &text
		chunk.Bytes += len(text)
	}
	f.owners, f.fields = append(f.owners, owner), append(f.fields, fields)
	chunk.Bytes += 100 + len(stored)
}

func (f *formerRows) queue(batch *pgx.Batch) {
	size := func(i int) int {
		if f.fields[i] == nil {
			return len(f.keys[i])
		}
		return len(f.keys[i]) + len(*f.fields[i])
	}
	eachPiece(len(f.keys), size, func(from, to int) {
		batch.Queue(`INSERT INTO mirror_before (table_name, key, parent, fields) SELECT table_name, key, parent, fields::json
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(table_name, key, parent, fields)`,
			f.tables[from:to], f.keys[from:to], f.owners[from:to], f.fields[from:to])
	})
}

// forget empties the table again.
func (t *Large) forget(ctx context.Context) error {
	if !t.former {
		return nil
	}
	if _, err := t.tx.Exec(ctx, `DELETE FROM mirror_before`); err != nil {
		return fmt.Errorf("forget the rows as they were before a transaction: %w", err)
	}
	return nil
}

// Former returns the rows of table that belonged to the parent before the transaction, in key order; like Children, where they
// take too much memory, none.
func (m *Mirror) Former(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !m.large {
		return m.Children(table, by, parent) // the transaction is not visible yet
	}
	return m.storedChildren(ownerID{table, parent}, m.former, &m.wantFormer)
}

// queueFormer asks for the mirrored rows that the transaction did not touch, and for those that it did as they were.
func (m *Mirror) queueFormer(batch *pgx.Batch) map[storedID]ownerID {
	wanted, names, owners := distinct(m.wantFormer)
	m.wantFormer = m.wantFormer[:0]
	if len(wanted) > 0 {
		batch.Queue(`WITH w AS (SELECT * FROM unnest($1::text[], $2::text[]) AS w(table_name, parent))
			SELECT m.table_name, m.parent, m.fields::text, m.key FROM w JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.parent = w.parent COLLATE "C"
			WHERE m.parent IS NOT NULL AND NOT EXISTS (SELECT FROM mirror_before f WHERE f.key = m.key AND f.table_name = m.table_name)
			UNION ALL
			SELECT f.table_name, f.parent, f.fields::text, f.key FROM w JOIN mirror_before f ON f.parent = w.parent COLLATE "C" AND f.table_name = w.table_name COLLATE "C"
			ORDER BY 1, 4`, names, owners)
	}
	return wanted
}
