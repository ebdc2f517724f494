package ingest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Only the IAM's clock decides when an event is due. This machine's clock may be far behind it, so the IAM's is read soon.
func TestDelayedEvents_DoNotTrustThisMachinesClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := &delayedEvents{}
	if wait := h.wait(now); wait < time.Minute {
		t.Errorf("waits %s although no event is delayed", wait)
	}
	h.add(outbox.DelayedEvent{Due: now.Add(time.Hour)})
	if wait := h.wait(now); wait > 10*time.Second {
		t.Errorf("reads the IAM's clock only after %s", wait)
	}
	h.add(outbox.DelayedEvent{Due: now.Add(-time.Hour)})
	if wait := h.wait(now); wait != releasePoll {
		t.Errorf("reads the IAM's clock after %s although an event may be due", wait)
	}
}

// A position is sampled only from a clock that is beyond the due time, and only once until the stream has reached it.
func TestWALClock_SamplesOnceADueTimeHasPassed(t *testing.T) {
	t.Parallel()
	due, asked := time.Now(), 0
	server := due.Add(-time.Second)
	c := &walClock{log: slog.New(slog.DiscardHandler), ask: func(context.Context) (cdc.LSN, time.Time, error) {
		asked++
		return 10, server, nil
	}}
	if c.sample(t.Context(), time.Time{}) || asked != 0 {
		t.Error("the clock is read although no event is delayed")
	}
	if !c.sample(t.Context(), due) || c.reached(10) {
		t.Error("a clock before the due time gives a sample")
	}
	server = due.Add(time.Second)
	c.sample(t.Context(), due)
	c.sample(t.Context(), due)
	if asked != 2 || c.reached(9) || !c.reached(10) {
		t.Errorf("read %d times; reached(9) %t, reached(10) %t", asked, c.reached(9), c.reached(10))
	}
	if now := c.time(); !now.Equal(server) || c.reached(10) {
		t.Errorf("the sample is %s, want %s, and is used up: %t", now, server, !c.reached(10))
	}
}

func TestWALClock_WaitsAfterAFailure(t *testing.T) {
	t.Parallel()
	asked := 0
	c := &walClock{log: slog.New(slog.DiscardHandler), ask: func(context.Context) (cdc.LSN, time.Time, error) {
		asked++
		return 0, time.Time{}, errors.New("refused")
	}}
	if c.sample(t.Context(), time.Now()) || c.retryAfter.IsZero() {
		t.Error("a failure counts as a sample, or is retried at once")
	}
	c.retryAfter = time.Now().Add(time.Hour)
	if c.sample(t.Context(), time.Now()) || asked != 1 {
		t.Errorf("the clock is read %d times", asked)
	}
}
