package ingest

import (
	"testing"
	"time"

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
