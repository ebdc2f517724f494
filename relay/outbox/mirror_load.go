package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Copy fills the mirror with whole tables, in one transaction.
type Copy struct {
	leader *Leader
	tx     pgx.Tx
	owners map[*cdc.Table]int
	chunk  Chunk
}

const (
	// copyRows and copyBytes bound what is written at a time, but for one row that is larger.
	copyRows  = 1000
	copyBytes = 2 << 20
)

// BeginCopy starts one.
func (l *Leader) BeginCopy(ctx context.Context, owners map[*cdc.Table]int) (*Copy, error) {
	tx, err := l.write.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin the copy: %w", err)
	}
	return &Copy{leader: l, tx: tx, owners: owners}, nil
}

// Table replaces what the mirror holds of t by the rows that read hands over. Only the columns that has reports are promised
// to be held from then on. The fingerprint was taken before the rows were read.
func (c *Copy) Table(ctx context.Context, t *cdc.Table, has func(t *cdc.Table, column int) bool, fingerprint string, read func(each func(cdc.Row) error) error) (int, error) {
	if _, err := c.tx.Exec(ctx, `DELETE FROM mirror WHERE table_name = $1`, t.Name); err != nil {
		return 0, fmt.Errorf("clear the mirror of %s: %w", t.Name, err)
	}
	n := 0
	err := read(func(row cdc.Row) error {
		key, err := t.KeyOf(row)
		if err != nil {
			return err
		}
		c.chunk.upsert(t, key, row, c.owners, c.leader.store.keys)
		if n++; len(c.chunk.upsertKeys) < copyRows && c.chunk.Bytes < copyBytes {
			return nil
		}
		return c.flush(ctx)
	})
	if err == nil {
		err = c.flush(ctx)
	}
	if err != nil {
		return n, fmt.Errorf("copy %s: %w", t.Name, err)
	}
	batch := &pgx.Batch{}
	queueHeld(batch, t, c.owners, has, fingerprint)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return n, fmt.Errorf("record what the mirror holds of %s: %w", t.Name, err)
	}
	return n, nil
}

func (c *Copy) flush(ctx context.Context) error {
	batch := &pgx.Batch{}
	c.chunk.queue(batch, c.leader.store)
	c.chunk = Chunk{}
	if batch.Len() == 0 {
		return nil
	}
	return c.tx.SendBatch(ctx, batch).Close()
}

// Absent registers a mapped table that the database does not have: when it appears, its rows are news.
func (c *Copy) Absent(ctx context.Context, t *cdc.Table) error {
	batch := &pgx.Batch{}
	queueHeld(batch, t, c.owners, func(*cdc.Table, int) bool { return false }, "")
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("register the absent table %s: %w", t.Name, err)
	}
	return nil
}

// Keep drops what the mirror holds of tables that are no longer mapped.
func (c *Copy) Keep(ctx context.Context, tables []*cdc.Table) error {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	for _, table := range []string{"mirror", "mirror_table"} {
		if _, err := c.tx.Exec(ctx, `DELETE FROM `+table+` WHERE table_name <> ALL ($1)`, names); err != nil {
			return fmt.Errorf("drop unmapped tables from the mirror: %w", err)
		}
	}
	return nil
}

// Start commits a first copy together with the position that it is consistent with.
func (c *Copy) Start(ctx context.Context, p cdc.Position) error {
	tag, err := c.tx.Exec(ctx, `UPDATE position SET state = 'streaming', system_id = $2, timeline = $3, database = $4, slot = $5,
		lsn = $6::text::pg_lsn, mark_commit = '0/0', mark_xid = 0, mark_time = 'epoch', mark_floor = $6::text::pg_lsn, updated = now() WHERE epoch = $1`, c.leader.epoch, p.SystemID, p.Timeline, p.Database, p.Slot, p.LSN.String())
	if err != nil {
		return fmt.Errorf("store the position: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return c.Commit(ctx)
}

// Commit ends a copy that does not move the position.
func (c *Copy) Commit(ctx context.Context) error {
	var epoch int64
	if err := c.tx.QueryRow(ctx, `SELECT epoch FROM position FOR SHARE`).Scan(&epoch); err != nil {
		return fmt.Errorf("check the epoch: %w", err)
	}
	if epoch != c.leader.epoch {
		return ErrFenced
	}
	if err := c.tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit the copy: %w", err)
	}
	return nil
}

// Rollback gives a copy up; after Commit it does nothing.
func (c *Copy) Rollback(ctx context.Context) error {
	if err := c.tx.Rollback(ctx); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it bare
		return fmt.Errorf("undo the copy: %w", err)
	}
	return nil
}
