package outbox

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
)

// A transaction cancels what earlier ones hold and what was not due when it committed. What is left comes in the order in
// which it is due, as it was held.
func TestHeld_IsCancelledOrDue(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	hold := func(lsn cdc.LSN, ordinal int, match string, due time.Duration) DelayedEvent {
		return DelayedEvent{
			Event:     Event{LSN: lsn, Ordinal: ordinal, WebhookID: "evt", Name: "n", Resource: "r", Occurred: noon, Body: []byte("body"), Webhooks: []int64{1, 2}},
			CancelKey: match, Due: noon.Add(due),
		}
	}
	early, late, last := hold(10, 1, "a", time.Second), hold(10, 2, "b", 9*time.Second), hold(20, 1, "a", 8*time.Second)
	held := []DelayedEvent{last, late, early, hold(10, 3, "a", 5*time.Second), hold(10, 4, "c", 5*time.Second)}
	chunk := &Chunk{Delayed: held, Cancel: []Cancellation{{Matches: []string{"a", "x"}, By: 20, At: noon.Add(2 * time.Second)}}}
	s.must(s.leader.Commit(t.Context(), chunk, 20, 0))
	if chunk.Cancelled != 1 {
		t.Errorf("%d were cancelled, not the one", chunk.Cancelled)
	}
	due, err := s.leader.DelayedDue(t.Context(), noon.Add(9*time.Second), 2)
	s.must(err)
	for i := range due {
		due[i].Occurred, due[i].Due = due[i].Occurred.UTC(), due[i].Due.UTC()
	}
	if diff := cmp.Diff([]DelayedEvent{early, held[4]}, due); diff != "" {
		t.Errorf("the first that are due (-want +got):\n%s", diff)
	}
	s.must(s.leader.Commit(t.Context(), &Chunk{Released: due}, 20, 0))
	if due, err = s.leader.DelayedDue(t.Context(), noon.Add(9*time.Second), 2); err != nil || len(due) != 1 || due[0].LSN != 20 {
		t.Errorf("then came %v (%v)", due, err)
	}
	count, first, err := s.store.DelayedCount(t.Context())
	if err != nil || count != 2 || !first.Equal(last.Due) {
		t.Errorf("%d are held, the first until %s (%v)", count, first, err)
	}
}
