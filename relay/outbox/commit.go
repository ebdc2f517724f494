package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
)

// Commit writes a chunk and advances the position, in one transaction and one round trip.
func (l *Leader) Commit(ctx context.Context, chunk *Chunk, lsn cdc.LSN, lastEvent int64) error {
	err := l.store.withPartitions(ctx, func() error {
		chunk.Canceled = 0
		batch := &pgx.Batch{} // without BEGIN, a batch is an implicit transaction
		chunk.queue(batch, l.store)
		batch.Queue(advanceMarked, advanceArguments(l.epoch, lsn, lastEvent, chunk.Mark)...)
		return l.write.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, l.fenced(ctx, err))
	}
	return nil
}

// fenced is like the function, and also explains an error about rows that another leader has stored already: the same transaction has the
// same events, and the epoch is checked after them.
func (l *Leader) fenced(ctx context.Context, err error) error {
	const uniqueViolation = "23505"
	if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != uniqueViolation {
		return fenced(err)
	}
	var epoch int64
	if failed := l.store.pool.QueryRow(ctx, `SELECT epoch FROM position`).Scan(&epoch); failed != nil || epoch == l.epoch {
		return err
	}
	return fmt.Errorf("%w: epoch %d has ended", ErrFenced, l.epoch)
}

// advanceMarked advances the position, and the parts of the mark that are known.
const advanceMarked = `SELECT advance_position($1, $2::text::pg_lsn, $3, $4::text::pg_lsn, $5::bigint, $6::timestamptz, $7::text::pg_lsn)`

func advanceArguments(epoch int64, lsn cdc.LSN, lastEvent int64, mark *cdc.HistoryMark) []any {
	arguments := []any{epoch, lsn.String(), lastEvent, nil, nil, nil, nil}
	if mark != nil && mark.XID != 0 {
		arguments[3], arguments[4], arguments[5] = mark.Commit.String(), int64(mark.XID), mark.Time
	}
	if mark != nil && mark.Floor != 0 {
		arguments[6] = mark.Floor.String()
	}
	return arguments
}

// Large is an outbox transaction that is written in chunks, for a source transaction that does not fit into memory.
type Large struct {
	leader *Leader
	tx     pgx.Tx
	used   time.Time
	before bool // rows were written to mirror_before
}

// pingPause is the longest idle time of a Large: a fifth of idle_in_transaction_session_timeout.
const pingPause = 3 * time.Second

// Begin starts a large transaction. Until End, the mirror reads through it.
func (l *Leader) Begin(ctx context.Context, m *Mirror) (*Large, error) {
	tx, err := l.write.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin an outbox transaction: %w", err)
	}
	// All rows go to the partition of the day on which the transaction began.
	var day time.Time
	err = tx.QueryRow(ctx, `SELECT `+today).Scan(&day)
	if err == nil {
		err = l.store.ensurePartition(ctx, "event", day)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin an outbox transaction: %w", err), tx.Rollback(ctx))
	}
	m.BeginLarge(mirrorTable{tx})
	return &Large{leader: l, tx: tx, used: time.Now()}, nil
}

// Write writes a chunk. If the chunk is empty, it calls Ping.
func (t *Large) Write(ctx context.Context, chunk *Chunk) error {
	batch := &pgx.Batch{}
	chunk.queue(batch, t.leader.store)
	if batch.Len() == 0 {
		return t.Ping(ctx)
	}
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write to the outbox: %w", t.leader.fenced(ctx, err))
	}
	t.used = time.Now()
	t.before = t.before || len(chunk.Before) > 0
	return nil
}

// Ping keeps the transaction from idling out. Frequent calls are cheap.
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

// Commit commits the transaction and advances the position to lsn, and to the mark unless it is nil.
func (t *Large) Commit(ctx context.Context, lsn cdc.LSN, lastEvent int64, mark *cdc.HistoryMark) error {
	if err := t.clearBefore(ctx); err != nil {
		return err
	}
	if _, err := t.tx.Exec(ctx, advanceMarked, advanceArguments(t.leader.epoch, lsn, lastEvent, mark)...); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, fenced(err))
	}
	if err := t.tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, err)
	}
	return nil
}

// End rolls the transaction back unless it was committed, and lets the mirror read from its connection again.
func (t *Large) End(m *Mirror) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m.EndLarge()
	if err := t.tx.Rollback(ctx); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it bare
		return fmt.Errorf("roll back an outbox transaction: %w", err)
	}
	return nil
}
