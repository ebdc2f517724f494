package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// State is how far the outbox is with its source.
type State string

const (
	// StateNew: nothing was read.
	StateNew State = "new"
	// StateCopying: the initial copy is not complete. It starts over after a restart.
	StateCopying State = "copying"
	// StateStreaming: the initial copy is complete, and the position is valid.
	StateStreaming State = "streaming"
)

// Position is how far the outbox has ingested the IAM's WAL and delivered its events.
type Position struct {
	cdc.Position
	State     State
	Mark      cdc.HistoryMark
	LastEvent int64
	Delivered int64
	Updated   time.Time
}

// Position reads the stored position.
func (s *Store) Position(ctx context.Context) (Position, error) {
	var p Position
	var lsns [3]string
	var xid int64
	err := s.pool.QueryRow(ctx, `SELECT state, system_id, timeline, database, slot, lsn::text, last_event, delivered, updated,
		mark_commit::text, mark_xid, mark_time, mark_floor::text FROM position, watermark`).Scan(&p.State, &p.SystemID, &p.Timeline, &p.Database, &p.Slot,
		&lsns[0], &p.LastEvent, &p.Delivered, &p.Updated, &lsns[1], &xid, &p.Mark.Time, &lsns[2])
	if err != nil {
		return p, fmt.Errorf("read the stored position: %w", err)
	}
	p.Mark.XID = uint32(xid)
	for i, into := range []*cdc.LSN{&p.LSN, &p.Mark.Commit, &p.Mark.Floor} {
		if *into, err = cdc.ParseLSN(lsns[i]); err != nil {
			return p, fmt.Errorf("read the stored position: %w", err)
		}
	}
	return p, nil
}

// queueFence ends a batch that does not advance the position. The batch fails if another relay has taken over.
func (l *Leader) queueFence(batch *pgx.Batch) {
	batch.Queue(`SELECT advance_position(epoch, lsn, last_event) FROM (SELECT $1::bigint AS epoch, lsn, last_event FROM position) AS p`, l.epoch)
}

// StartCopy records the initial copy before the slot is created, so that a slot of that name is known to be the relay's.
func (l *Leader) StartCopy(ctx context.Context, slot string) error {
	return l.setPosition(ctx, cdc.Position{Slot: slot}, StateCopying)
}

func (l *Leader) setPosition(ctx context.Context, p cdc.Position, state State) error {
	tag, err := l.write.Exec(ctx, `UPDATE position SET state = $2, system_id = $3, timeline = $4, database = $5, slot = $6, lsn = $7::text::pg_lsn,
		updated = now() WHERE epoch = $1`, l.epoch, state, p.SystemID, p.Timeline, p.Database, p.Slot, p.LSN.String())
	if err != nil {
		return fmt.Errorf("store the position: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}

// FollowTimeline records that a later timeline of the server contains the position.
func (l *Leader) FollowTimeline(ctx context.Context, timeline int) error {
	tag, err := l.write.Exec(ctx, `UPDATE position SET timeline = $2 WHERE epoch = $1`, l.epoch, timeline)
	if err != nil {
		return fmt.Errorf("store the timeline: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}
