package outbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// clock maps this machine's monotonic clock to the outbox server's time, by which all decisions about data are made. This machine's own
// wall clock does not matter, nor do jumps of it.
type clock struct {
	sampled atomic.Pointer[sample]
	set     atomic.Int64 // nanoseconds by which the server's clock was set since FollowClock last ran
}

// sample is the same instant on both clocks.
type sample struct{ server, local time.Time }

// SyncClock reads the outbox server's time. It returns how far that is ahead of this machine's wall clock, and the duration of the query,
// which bounds the error.
func (s *Store) SyncClock(ctx context.Context) (ahead, took time.Duration, err error) {
	asked := time.Now()
	var server time.Time
	if err := s.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&server); err != nil {
		return 0, 0, fmt.Errorf("read the outbox's clock: %w", cdc.ExplainConnectError(err))
	}
	took = time.Since(asked)
	local := asked.Add(took / 2)
	before := s.clock.sampled.Swap(&sample{server: server, local: local})
	if before != nil {
		// A difference beyond the error of both samples means that the clock was set.
		if set := server.Sub(before.server) - local.Sub(before.local); set.Abs() > clockStep+took {
			s.clock.set.Add(int64(set))
		}
	}
	return server.Sub(local.Round(0)), took, nil
}

// clockStep is the smallest change that counts as a set clock; a smaller one is drift correction.
const clockStep = 10 * time.Second

// clockStoreEvery is how often the server's time is stored.
const clockStoreEvery = time.Minute

// FollowClock moves due times back if the outbox server's clock was set back since the last call; they would wait that much longer
// otherwise. The first call compares with the time that the former leader stored, so that a clock set while no relay runs is noticed too.
// It returns by how much the clock was set, in either direction. It is not safe for concurrent use.
func (l *Leader) FollowClock(ctx context.Context) (time.Duration, error) {
	set := time.Duration(l.store.clock.set.Swap(0))
	first := l.clockStored.IsZero()
	if first {
		back, err := l.clockSetBack(ctx)
		if err != nil {
			return 0, err
		}
		set = min(set, -back)
	}
	if set == 0 && !first && time.Since(l.clockStored) < clockStoreEvery {
		return 0, nil
	}
	batch := &pgx.Batch{}
	if set < 0 {
		batch.Queue(`UPDATE retry SET due = due + $1::interval WHERE due > clock_timestamp() AND due < 'infinity'`, set)
		batch.Queue(`UPDATE webhook SET paused_until = paused_until + $1::interval WHERE paused_until > clock_timestamp()`, set)
		batch.Queue(`UPDATE replay SET updated = clock_timestamp() WHERE updated > clock_timestamp()`)
		// A replay finds its deliveries by times since it was created.
		batch.Queue(`UPDATE replay SET created = created + $1::interval WHERE created > clock_timestamp()`, set)
		l.queueFence(batch)
	}
	batch.Queue(`UPDATE watermark SET clock_checked = clock_timestamp() WHERE epoch = $1`, l.epoch)
	if err := l.store.pool.SendBatch(ctx, batch).Close(); err != nil {
		l.store.clock.set.Add(int64(set)) // retried by the next call
		return 0, fmt.Errorf("follow the outbox's clock: %w", fenced(err))
	}
	l.clockStored = time.Now()
	return set, nil
}

// clockSetBack returns by how much, at least, the clock was set back since a leader stored it, or 0.
func (l *Leader) clockSetBack(ctx context.Context) (time.Duration, error) {
	var seconds float64
	if err := l.store.pool.QueryRow(ctx, `SELECT coalesce(extract(epoch FROM clock_checked - clock_timestamp()), 0)::float8 FROM watermark`).Scan(&seconds); err != nil {
		return 0, fmt.Errorf("read the stored time of the outbox: %w", err)
	}
	if back := time.Duration(seconds * float64(time.Second)); back > clockStep {
		return back, nil
	}
	return 0, nil
}

// ServerTime converts a time of this machine, as time.Now returns it, to the outbox server's time. Before the first SyncClock it returns
// the time unchanged.
func (s *Store) ServerTime(local time.Time) time.Time {
	if at := s.clock.sampled.Load(); at != nil && !local.IsZero() {
		return at.server.Add(local.Sub(at.local))
	}
	return local
}

// LocalTime converts a time of the outbox server to this machine's, with a monotonic reading.
func (s *Store) LocalTime(server time.Time) time.Time {
	if at := s.clock.sampled.Load(); at != nil && !server.IsZero() {
		return at.local.Add(server.Sub(at.server))
	}
	return server
}

// LocalHealth converts the times of a stored Health to this machine's.
func (s *Store) LocalHealth(h Health) Health {
	h.PausedUntil, h.FailingSince, h.FailedAt = s.LocalTime(h.PausedUntil), s.LocalTime(h.FailingSince), s.LocalTime(h.FailedAt)
	return h
}
