package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Copy loads whole tables into the mirror, in one transaction.
type Copy struct {
	leader  *Leader
	tx      pgx.Tx
	parents map[*cdc.Table]int
	chunk   Chunk
}

const (
	// copyRows and copyBytes bound a write; a single larger row is still written.
	copyRows  = 1000
	copyBytes = 2 << 20
)

// BeginCopy starts a Copy.
func (l *Leader) BeginCopy(ctx context.Context, parents map[*cdc.Table]int) (*Copy, error) {
	tx, err := l.write.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin a transaction for the copy: %w", err)
	}
	return &Copy{leader: l, tx: tx, parents: parents}, nil
}

// Table replaces the mirrored rows of t with those that read passes to its argument, and returns their number. It registers the columns
// for which has reports true. The fingerprint must have been taken before the rows were read.
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
		c.chunk.upsert(t, key, row, c.parents, c.leader.store.keys)
		if n++; len(c.chunk.Upserts) < copyRows && c.chunk.Bytes < copyBytes {
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
	queueMirrorTable(batch, t, c.parents, has, fingerprint)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return n, fmt.Errorf("register the mirrored columns of %s: %w", t.Name, err)
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

// Absent registers a mapped table that does not exist in the database, so that its rows are new when it appears.
func (c *Copy) Absent(ctx context.Context, t *cdc.Table) error {
	batch := &pgx.Batch{}
	queueMirrorTable(batch, t, c.parents, func(*cdc.Table, int) bool { return false }, "")
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("register the absent table %s: %w", t.Name, err)
	}
	return nil
}

// Keep removes the rows of tables that are no longer mapped.
func (c *Copy) Keep(ctx context.Context, tables []*cdc.Table) error {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	for _, table := range []string{"mirror", "mirror_table"} {
		if _, err := c.tx.Exec(ctx, `DELETE FROM `+table+` WHERE table_name <> ALL ($1)`, names); err != nil {
			return fmt.Errorf("remove unmapped tables from the mirror: %w", err)
		}
	}
	return nil
}

// Start commits the initial copy, with the position at which it is consistent.
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

// Commit commits a copy without advancing the position.
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

// Rollback undoes the copy. After Commit it does nothing.
func (c *Copy) Rollback(ctx context.Context) error {
	if err := c.tx.Rollback(ctx); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it bare
		return fmt.Errorf("roll back the copy: %w", err)
	}
	return nil
}
