// Package loop has what a long-running goroutine needs around its work: a periodic step, a backoff between failures, and a grace
// period when it is stopped.
package loop

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"
)

const (
	backoffBase = 200 * time.Millisecond
	backoffCap  = 5 * time.Second
	// steady is how long something must have worked for its next failure to count as the first.
	steady = 30 * time.Second
)

// Backoff waits longer and longer between attempts at something that keeps failing: from 200 ms to 5 s, with 20 % jitter.
type Backoff struct{ delays retry.Backoff }

// NewBackoff starts with the shortest delay.
func NewBackoff() *Backoff {
	b := &Backoff{}
	b.reset()
	return b
}

func (b *Backoff) reset() {
	b.delays = retry.WithJitterPercent(20, retry.WithCappedDuration(backoffCap, retry.NewExponential(backoffBase)))
}

// Wait waits after an attempt that lasted for worked. It returns ctx's error if that ends first.
func (b *Backoff) Wait(ctx context.Context, worked time.Duration) error {
	if worked >= steady {
		b.reset()
	}
	delay, _ := b.delays.Next()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
