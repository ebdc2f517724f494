package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Commit writes a chunk and the position that it brings the outbox to, in one transaction and one round trip.
func (l *Leader) Commit(ctx context.Context, chunk *Chunk, lsn cdc.LSN, lastEvent int64) error {
	err := l.store.withPartitions(ctx, func() error {
		chunk.Cancelled = 0
		batch := &pgx.Batch{} // without BEGIN, a batch is one implicit transaction
		chunk.queue(batch, l.store)
		batch.Queue(advanceMarked, advanceArguments(l.epoch, lsn, lastEvent, chunk.Mark)...)
		return l.write.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, fenced(err))
	}
	return nil
}

// advanceMarked moves the position, and stores what is known of a mark.
const advanceMarked = `SELECT advance_position($1, $2::text::pg_lsn, $3, $4::text::pg_lsn, $5::bigint, $6::timestamptz, $7::text::pg_lsn)`

func advanceArguments(epoch int64, lsn cdc.LSN, lastEvent int64, mark *cdc.Mark) []any {
	arguments := []any{epoch, lsn.String(), lastEvent, nil, nil, nil, nil}
	if mark != nil && mark.XID != 0 {
		arguments[3], arguments[4], arguments[5] = mark.Commit.String(), int64(mark.XID), mark.Time
	}
	if mark != nil && mark.Floor != 0 {
		arguments[6] = mark.Floor.String()
	}
	return arguments
}

// Large is an outbox transaction written in chunks, for a source transaction that does not fit into memory.
type Large struct {
	// Mark is stored with the position, unless it is nil.
	Mark   *cdc.Mark
	leader *Leader
	tx     pgx.Tx
	used   time.Time
	former bool // some rows are kept as they were before
}

// pingPause is how long the server may hear nothing of a Large: a fifth of the time after which it ends an idle transaction.
const pingPause = 3 * time.Second

// Begin starts one. Until it ends, the mirror reads through it.
func (l *Leader) Begin(ctx context.Context, m *Mirror) (*Large, error) {
	tx, err := l.write.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin an outbox transaction: %w", err)
	}
	// The day is that of the transaction's beginning, however long it takes: once there is a partition for it, no row is refused.
	var day time.Time
	err = tx.QueryRow(ctx, `SELECT `+today).Scan(&day)
	if err == nil {
		err = l.store.ensurePartition(ctx, "event", day)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin an outbox transaction: %w", err), tx.Rollback(ctx))
	}
	m.query, m.large = tx, true
	return &Large{leader: l, tx: tx, used: time.Now()}, nil
}

// Write adds a chunk. An empty one is a Ping.
func (t *Large) Write(ctx context.Context, chunk *Chunk) error {
	batch := &pgx.Batch{}
	chunk.queue(batch, t.leader.store)
	if batch.Len() == 0 {
		return t.Ping(ctx)
	}
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write to the outbox: %w", err)
	}
	t.used = time.Now()
	t.former = t.former || len(chunk.former.keys) > 0
	return nil
}

// Ping keeps the transaction alive while nothing is written. It may be called very often.
func (t *Large) Ping(ctx context.Context) error {
	if time.Since(t.used) < pingPause {
		return nil
	}
	if err := t.tx.Conn().Ping(ctx); err != nil {
		return fmt.Errorf("keep the outbox transaction alive: %w", err)
	}
	t.used = time.Now()
	return nil
}

// Commit ends the transaction at lsn.
func (t *Large) Commit(ctx context.Context, lsn cdc.LSN, lastEvent int64) error {
	if err := t.forget(ctx); err != nil {
		return err
	}
	if _, err := t.tx.Exec(ctx, advanceMarked, advanceArguments(t.leader.epoch, lsn, lastEvent, t.Mark)...); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, fenced(err))
	}
	if err := t.tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, err)
	}
	return nil
}

// End releases the transaction, undoing it unless it was committed, and gives the mirror its connection back.
func (t *Large) End(m *Mirror) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m.query, m.large = t.leader.write, false
	m.Reset()
	if err := t.tx.Rollback(ctx); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it bare
		return fmt.Errorf("undo an outbox transaction: %w", err)
	}
	return nil
}
