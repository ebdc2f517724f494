package relay

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/sethvargo/go-retry"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	pauseBase = 200 * time.Millisecond
	pauseCap  = 5 * time.Second
	// steady is how long something must have worked for its next failure to count as the first.
	steady = 30 * time.Second
)

// pause waits longer and longer between attempts at something that keeps failing.
type pause struct{ backoff retry.Backoff }

func newPause() *pause {
	p := &pause{}
	p.reset()
	return p
}

func (p *pause) reset() {
	p.backoff = retry.WithJitterPercent(20, retry.WithCappedDuration(pauseCap, retry.NewExponential(pauseBase)))
}

// wait waits after an attempt that lasted for worked; it returns ctx's error if that ends first.
func (p *pause) wait(ctx context.Context, worked time.Duration) error {
	if worked >= steady {
		p.reset()
	}
	delay, _ := p.backoff.Next()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// passing reports whether an outbox error may pass by itself: the database restarts, the network fails, another relay leads
// now, two transactions got into each other's way.
func passing(err error) bool {
	if errors.Is(err, outbox.ErrFenced) || cdc.Retryable(err) {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "40001", "40P01", "55P03", "57014", "25P03", "25P02": // serialization, deadlock, lock or statement timeout, idle in transaction
			return true
		}
		return false
	}
	return pgconn.SafeToRetry(err) || pgconn.Timeout(err) || errors.Is(err, pgconn.ErrConnClosed)
}

// grace returns a context that outlives ctx by d: what has begun may end, but not for ever.
func grace(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel() }
}
