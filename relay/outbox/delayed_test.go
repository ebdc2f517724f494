package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
)

// A transaction cancels delayed events of earlier ones that were not due at its commit. The others are returned in the order in which they
// are due, unchanged.
func TestDelayedEvent_CanceledOrDue(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	event := func(lsn cdc.LSN, ordinal int, match string, due time.Duration) DelayedEvent {
		return DelayedEvent{
			Event:     Event{LSN: lsn, Ordinal: ordinal, WebhookID: "evt", Name: "n", Resource: "r", Occurred: noon, Body: []byte("body"), Webhooks: []int64{1, 2}},
			CancelKey: match, Due: noon.Add(due),
		}
	}
	early, late, last := event(10, 1, "a", time.Second), event(10, 2, "b", 9*time.Second), event(20, 1, "a", 8*time.Second)
	delayed := []DelayedEvent{last, late, early, event(10, 3, "a", 5*time.Second), event(10, 4, "c", 5*time.Second)}
	chunk := &Chunk{Delayed: delayed, Cancel: []Cancellation{{Keys: []string{"a", "x"}, By: 20, At: noon.Add(2 * time.Second)}}}
	s.must(s.leader.Commit(t.Context(), chunk, 20, 0))
	if chunk.Canceled != 1 {
		t.Errorf("%d were cancelled, not the one", chunk.Canceled)
	}
	due, err := s.leader.DelayedDue(t.Context(), noon.Add(9*time.Second), 2)
	s.must(err)
	for i := range due {
		due[i].Occurred, due[i].Due = due[i].Occurred.UTC(), due[i].Due.UTC()
	}
	if diff := cmp.Diff([]DelayedEvent{early, delayed[4]}, due); diff != "" {
		t.Errorf("the first that are due (-want +got):\n%s", diff)
	}
	s.must(s.leader.Commit(t.Context(), &Chunk{DelayedDone: due}, 20, 0))
	if due, err = s.leader.DelayedDue(t.Context(), noon.Add(9*time.Second), 2); err != nil || len(due) != 1 || due[0].LSN != 20 {
		t.Errorf("then came %v (%v)", due, err)
	}
	count, first, err := s.store.DelayedCount(t.Context())
	if err != nil || count != 2 || !first.Equal(last.Due) {
		t.Errorf("%d events are delayed, the first is due at %s (%v)", count, first, err)
	}
}
