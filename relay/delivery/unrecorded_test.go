package delivery

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// A membership that has recorded nothing makes a few attempts at a time. Waiting for those in flight does not keep the recorder busy: it has
// nothing to write until one of them ends.
func TestUnrecorded_WakesTheRecorderOnlyWithSomethingToRecord(t *testing.T) {
	t.Parallel()
	d := &Dispatcher{recorder: newRecorder(), scheduler: newScheduler(100), retryScheduler: newScheduler(100)}
	woken := func() bool {
		select {
		case <-d.recorder.full:
			return true
		default:
			return false
		}
	}
	for range maxUnproven {
		if !d.mayMakeAttempt() {
			t.Fatal("an attempt is refused before the limit")
		}
		d.scheduler.permits[&permit{since: time.Now()}] = struct{}{}
	}
	if d.mayMakeAttempt() {
		t.Error("one attempt too many is allowed")
	}
	d.resume()
	if woken() || !d.held {
		t.Error("the recorder is woken without anything to record")
	}
	d.recorder.attempt(1, 1, 1, time.Now(), &webhook.Outcome{Class: webhook.ClassDelivered})
	if d.mayMakeAttempt() || !woken() {
		t.Error("the recorder is not woken to record what other attempts wait for")
	}
	for p := range d.scheduler.permits {
		p.slow = true // a slow request delays no others
	}
	d.resume()
	if d.held || !d.mayMakeAttempt() {
		t.Error("attempts are still refused when those in flight are slow")
	}
}
