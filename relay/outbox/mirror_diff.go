package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Copy returns a copy that is part of the transaction.
func (t *Large) Copy(owners map[*cdc.Table]int) *Copy {
	return &Copy{leader: t.leader, tx: t.tx, owners: owners}
}

// BeginFound forgets which rows the last comparison has found. Only one at a time can do so: others wait for its end.
func (t *Large) BeginFound(ctx context.Context) error {
	if _, err := t.tx.Exec(ctx, `TRUNCATE snapshot_key`); err != nil {
		return fmt.Errorf("begin to compare: %w", err)
	}
	return nil
}

// Found notes keys of a table's rows that are in the IAM.
func (t *Large) Found(ctx context.Context, keys []cdc.Key) error {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = storedKey(k)
	}
	if _, err := t.tx.Exec(ctx, `INSERT INTO snapshot_key (key) SELECT unnest($1::text[])`, texts); err != nil {
		return fmt.Errorf("note which rows are there: %w", err)
	}
	return nil
}

// Gone hands over the mirrored rows of a table that were not found, in key order. It must not use the transaction.
func (t *Large) Gone(ctx context.Context, table *cdc.Table, each func(key cdc.Key, row cdc.Row) error) error {
	rows, err := t.tx.Query(ctx, `SELECT m.key, m.fields::text FROM mirror m WHERE m.table_name = $1 AND NOT EXISTS (SELECT FROM snapshot_key f WHERE f.key = m.key) ORDER BY m.key`, table.Name)
	if err != nil {
		return fmt.Errorf("look for rows of %s that are gone: %w", table.Name, err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		stored := string(raw[0])
		row, err := parseRow(table, stored, raw[1], t.leader.store.keys)
		if err != nil {
			return err
		}
		key, err := fullKey(table, stored, row)
		if err != nil {
			return err
		}
		if err := each(key, row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("look for rows of %s that are gone: %w", table.Name, err)
	}
	return nil
}

// Held records that the mirror agrees with the database about the tables that were compared.
func (t *Large) Held(ctx context.Context, tables []*cdc.Table, owners map[*cdc.Table]int, has func(t *cdc.Table, column int) bool, prints map[string]string) error {
	batch := &pgx.Batch{}
	for _, table := range tables {
		queueHeld(batch, table, owners, has, prints[table.Name])
	}
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("record what the mirror holds: %w", err)
	}
	return nil
}

// CommitAt ends the transaction at a position that may be of another log than the one before.
func (t *Large) CommitAt(ctx context.Context, p cdc.Position, lastEvent int64) error {
	_, err := t.tx.Exec(ctx, `UPDATE position SET system_id = $1, timeline = $2, database = $3, slot = $4, mark_commit = '0/0', mark_xid = 0, mark_time = 'epoch'`, p.SystemID, p.Timeline, p.Database, p.Slot)
	if err != nil {
		return fmt.Errorf("store the position: %w", err)
	}
	return t.Commit(ctx, p.LSN, lastEvent)
}

// Rows counts what the mirror holds of the tables.
func (s *Store) Rows(ctx context.Context, tables []*cdc.Table) (int64, error) {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	var n int64
	if err := s.pool.QueryRow(ctx, `SELECT count(*) FROM mirror WHERE table_name = ANY ($1)`, names).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the mirror's rows: %w", err)
	}
	return n, nil
}
