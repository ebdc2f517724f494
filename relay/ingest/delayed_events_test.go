package ingest

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Only the IAM's clock says when an event is due. This machine's may be far behind it, so the IAM's is asked before long.
func TestHeld_DoesNotTrustThisMachinesClock(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := &delayedEvents{}
	if wait := h.wait(now); wait < time.Minute {
		t.Errorf("looks again after %s though nothing is held", wait)
	}
	h.add(outbox.DelayedEvent{Due: now.Add(time.Hour)})
	if wait := h.wait(now); wait > 10*time.Second {
		t.Errorf("asks after %s only", wait)
	}
	h.add(outbox.DelayedEvent{Due: now.Add(-time.Hour)})
	if wait := h.wait(now); wait != releasePoll {
		t.Errorf("asks after %s, though an event may be due", wait)
	}
}
