// Package loop has what a long-running goroutine needs around its work: a periodic step, a backoff between failures, and a grace
// period when it is stopped. Every stage of the relay uses it; it imports none of them.
package loop

import (
	"context"
	"time"

	"github.com/sethvargo/go-retry"
)

const (
	backoffBase = 200 * time.Millisecond
	backoffCap  = 5 * time.Second
	// steadyAfter is how long an attempt must have worked for the next failure to count as the first.
	steadyAfter = 30 * time.Second
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

// Wait waits before the next attempt; worked is how long the last one lasted. It returns ctx's error if ctx ends first.
func (b *Backoff) Wait(ctx context.Context, worked time.Duration) error {
	if worked >= steadyAfter {
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
