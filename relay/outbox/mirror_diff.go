package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Copy returns a Copy that is part of the transaction.
func (t *Large) Copy(parents map[*cdc.Table]int) *Copy {
	return &Copy{leader: t.leader, tx: t.tx, parents: parents}
}

// ClearSnapshotKeys empties snapshot_key. The lock of TRUNCATE makes concurrent comparisons wait.
func (t *Large) ClearSnapshotKeys(ctx context.Context) error {
	if _, err := t.tx.Exec(ctx, `TRUNCATE snapshot_key`); err != nil {
		return fmt.Errorf("empty table snapshot_key: %w", err)
	}
	return nil
}

// AddSnapshotKeys adds keys of rows that are in the snapshot.
func (t *Large) AddSnapshotKeys(ctx context.Context, keys []cdc.Key) error {
	texts := make([]string, len(keys))
	for i, k := range keys {
		texts[i] = storedKey(k)
	}
	if _, err := t.tx.Exec(ctx, `INSERT INTO snapshot_key (key) SELECT unnest($1::text[])`, texts); err != nil {
		return fmt.Errorf("write table snapshot_key: %w", err)
	}
	return nil
}

// EachDeleted calls each for the mirrored rows of a table that are not in the snapshot, in key order. each must not use the transaction.
func (t *Large) EachDeleted(ctx context.Context, table *cdc.Table, each func(key cdc.Key, row cdc.Row) error) error {
	rows, err := t.tx.Query(ctx, `SELECT m.key, m.fields::text FROM mirror m WHERE m.table_name = $1 AND NOT EXISTS (SELECT FROM snapshot_key f WHERE f.key = m.key) ORDER BY m.key`, table.Name)
	if err != nil {
		return fmt.Errorf("look for deleted rows of %s: %w", table.Name, err)
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
		return fmt.Errorf("look for deleted rows of %s: %w", table.Name, err)
	}
	return nil
}

// RecordMirrored records that the mirror now matches the compared tables.
func (t *Large) RecordMirrored(ctx context.Context, tables []*cdc.Table, parents map[*cdc.Table]int, has func(t *cdc.Table, column int) bool, prints map[string]string) error {
	batch := &pgx.Batch{}
	for _, table := range tables {
		queueMirrorTable(batch, table, parents, has, prints[table.Name])
	}
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("update table mirror_table: %w", err)
	}
	return nil
}

// CommitAt commits the transaction at a position that may be in the WAL of another server or timeline.
func (t *Large) CommitAt(ctx context.Context, p cdc.Position, lastEvent int64, mark *cdc.HistoryMark) error {
	_, err := t.tx.Exec(ctx, `UPDATE position SET system_id = $1, timeline = $2, database = $3, slot = $4, mark_commit = '0/0', mark_xid = 0, mark_time = 'epoch'`, p.SystemID, p.Timeline, p.Database, p.Slot)
	if err != nil {
		return fmt.Errorf("store the position: %w", err)
	}
	return t.Commit(ctx, p.LSN, lastEvent, mark)
}

// Rows counts the mirrored rows of the tables.
func (s *Store) Rows(ctx context.Context, tables []*cdc.Table) (int64, error) {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	var n int64
	if err := s.pool.QueryRow(ctx, `SELECT count(*) FROM mirror WHERE table_name = ANY ($1)`, names).Scan(&n); err != nil {
		return 0, fmt.Errorf("count mirrored rows: %w", err)
	}
	return n, nil
}
