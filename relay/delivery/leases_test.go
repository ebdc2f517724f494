package delivery

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// A relay that does not lead keeps only the endpoints that it delivers to, or whose retries it has sent lately.
func TestLeases_DropUnusedEndpoints(t *testing.T) {
	t.Parallel()
	d, _ := testEndpoint(t, "")
	now := time.Now()
	removed := int64(1)
	for id, change := range map[int64]func(*endpoint){
		2: func(e *endpoint) { e.usedAt = now.Add(-dropAfter - time.Second) },
		3: func(e *endpoint) { e.removedAfter = &removed },
		4: func(e *endpoint) { e.removedAfter, e.retries = &removed, 1 },
		5: func(e *endpoint) { e.removedAfter, e.attempts = &removed, 1 },
		6: func(e *endpoint) { e.removedAfter, e.owned = &removed, true },
		7: func(*endpoint) {},
	} {
		e := &endpoint{id: id, usedAt: now, lifecycle: lifecycle{enabled: true}, queue: newQueue(d.pool, "t")}
		change(e)
		d.endpoints[id] = e
	}
	known := func() []int64 { return slices.Sorted(maps.Keys(d.endpoints)) }
	d.leader = &simLeader{}
	d.releaseSurplus(outbox.Lagging{})
	if diff := cmp.Diff([]int64{1, 2, 3, 4, 5, 6, 7}, known()); diff != "" {
		t.Errorf("the leader:\n%s", diff)
	}
	d.leader = nil
	d.releaseSurplus(outbox.Lagging{})
	if diff := cmp.Diff([]int64{1, 4, 5, 6, 7}, known()); diff != "" {
		t.Errorf("another relay:\n%s", diff)
	}
}

// A retry whose webhook was dropped after it was claimed is released, not done.
func TestLeases_RetryOfADroppedEndpoint(t *testing.T) {
	t.Parallel()
	d, _ := testEndpoint(t, "")
	due := []outbox.DueRetry{{Event: outbox.Event{ID: 7}, Webhook: 2}, {Event: outbox.Event{ID: 8}, Webhook: 3}}
	d.sendRetries(due, map[int64]*outbox.Webhook{3: nil})
	record := d.recorder.pending
	if diff := cmp.Diff([]outbox.DeliveryKey{{Event: 7, Webhook: 2}}, record.RetriesReleased); diff != "" {
		t.Errorf("released:\n%s", diff)
	}
	if diff := cmp.Diff([]outbox.DeliveryKey{{Event: 8, Webhook: 3}}, record.RetriesDone); diff != "" {
		t.Errorf("done:\n%s", diff)
	}
}

// A surplus endpoint is released, unless it was sent events past older ones: then it goes on reading and sending until it has passed them.
// It must not stop without being released, because no other relay could go on with it.
func TestLeases_SurplusIsReleasedOrKeepsDelivering(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ahead []int64
		want  state
	}{
		"nothing ahead": {nil, stateUnowned},
		"events ahead":  {[]int64{4}, stateCatchingUp},
	} {
		d, e := testEndpoint(t, webhook.OrderingResource)
		d.closing = true // no reads: there is no outbox
		d.head = 5 * minLeaseLag
		e.claimed(new(int64))
		for _, id := range test.ahead {
			e.queue.ahead[id] = struct{}{}
		}
		e.queue.push(&outbox.Event{ID: 3, Body: []byte("{}")})
		e.cursor.readFrom = 10
		d.releaseSurplus(outbox.Lagging{Members: 2, Webhooks: 1, Mine: 2})
		d.recordCursor(e, d.head, map[int64]outbox.CursorUpdate{})
		if e.state() != test.want {
			t.Errorf("%s: state %s, want %s", name, e.state(), test.want)
		}
	}
}
