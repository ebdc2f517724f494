package outbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// clock relates this machine's monotonic clock to the outbox server's time of day, which alone decides about data: how this machine's
// own time of day is set, and whether it jumps, does not matter.
type clock struct {
	sampled atomic.Pointer[sample]
	set     atomic.Int64 // nanoseconds by which the server's clock was set, and FollowClock has not followed
}

// sample is one instant on both clocks.
type sample struct{ server, local time.Time }

// SyncClock asks the outbox server for its time. It returns by how much that is ahead of this machine's time of day, and how long the
// answer took, by which it may be wrong.
func (s *Store) SyncClock(ctx context.Context) (ahead, took time.Duration, err error) {
	asked := time.Now()
	var server time.Time
	if err := s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&server); err != nil {
		return 0, 0, fmt.Errorf("read the outbox's clock: %w", cdc.ConnectReason(err))
	}
	took = time.Since(asked)
	local := asked.Add(took / 2)
	before := s.clock.sampled.Swap(&sample{server: server, local: local})
	if before != nil {
		// By how much it was set, as far as that is more than the two answers may be wrong.
		if set := server.Sub(before.server) - local.Sub(before.local); set.Abs() > clockStep+took {
			s.clock.set.Add(int64(set))
		}
	}
	return server.Sub(local.Round(0)), took, nil
}

// clockStep is by how much a clock must have been set for that to be no correction of its speed.
const clockStep = 10 * time.Second

// clockNote is how often the server's time is stored.
const clockNote = time.Minute

// FollowClock moves what waits for a time along with the outbox server's clock, if that was set back since it was called before: it
// would wait for as much longer. The first call compares with what the former leader has stored, so that a clock which is set while no
// relay runs is followed, too. It returns by how much the clock was set, in either direction. One goroutine calls it.
func (l *Leader) FollowClock(ctx context.Context) (time.Duration, error) {
	set := time.Duration(l.store.clock.set.Swap(0))
	first := l.clockNoted.IsZero()
	if first {
		back, err := l.setBackMeanwhile(ctx)
		if err != nil {
			return 0, err
		}
		set = min(set, -back)
	}
	if set == 0 && !first && time.Since(l.clockNoted) < clockNote {
		return 0, nil
	}
	batch := &pgx.Batch{}
	if set < 0 {
		batch.Queue(`UPDATE retry SET due = due + $1::interval WHERE due > clock_timestamp() AND due < 'infinity'`, set)
		batch.Queue(`UPDATE webhook SET paused_until = paused_until + $1::interval WHERE paused_until > clock_timestamp()`, set)
		batch.Queue(`UPDATE replay SET updated = clock_timestamp() WHERE updated > clock_timestamp()`)
		// A replay counts its deliveries by when they were parked, and given up, since it was created.
		batch.Queue(`UPDATE replay SET created = created + $1::interval WHERE created > clock_timestamp()`, set)
		l.queueFence(batch)
	}
	batch.Queue(`UPDATE watermark SET clock_checked = clock_timestamp() WHERE epoch = $1`, l.epoch)
	if err := l.store.pool.SendBatch(ctx, batch).Close(); err != nil {
		l.store.clock.set.Add(int64(set)) // the next call follows
		return 0, fmt.Errorf("follow the outbox's clock: %w", fenced(err))
	}
	l.clockNoted = time.Now()
	return set, nil
}

// setBackMeanwhile returns by how much, at least, the clock was set back since a leader stored it; 0 if it was not.
func (l *Leader) setBackMeanwhile(ctx context.Context) (time.Duration, error) {
	var seconds float64
	if err := l.store.pool.QueryRow(ctx, `SELECT coalesce(extract(epoch FROM clock_checked - clock_timestamp()), 0)::float8 FROM watermark`).Scan(&seconds); err != nil {
		return 0, fmt.Errorf("read when the outbox's clock was last looked at: %w", err)
	}
	if back := time.Duration(seconds * float64(time.Second)); back > clockStep {
		return back, nil
	}
	return 0, nil
}

// ServerTime is the outbox server's time at a moment of this machine, as time.Now returns it. Before the first SyncClock it is
// taken for the same.
func (s *Store) ServerTime(local time.Time) time.Time {
	if at := s.clock.sampled.Load(); at != nil && !local.IsZero() {
		return at.server.Add(local.Sub(at.local))
	}
	return local
}

// LocalTime is the moment of this machine, with its monotonic reading, at which the outbox server has a time.
func (s *Store) LocalTime(server time.Time) time.Time {
	if at := s.clock.sampled.Load(); at != nil && !server.IsZero() {
		return at.local.Add(server.Sub(at.server))
	}
	return server
}

// LocalHealth is a stored Health in the time of this machine.
func (s *Store) LocalHealth(h Health) Health {
	h.RestUntil, h.FailingSince, h.FailedAt = s.LocalTime(h.RestUntil), s.LocalTime(h.FailingSince), s.LocalTime(h.FailedAt)
	return h
}
