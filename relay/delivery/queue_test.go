package delivery

import (
	"slices"
	"testing"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func testQueue(ordering webhook.Ordering, resources ...string) *queue {
	q := newQueue(newEventPool(poolBytes), "t")
	q.ordering = ordering
	for i, resource := range resources {
		q.push(&outbox.Event{ID: int64(i + 1), Resource: resource, Body: []byte("{}")})
	}
	return &q
}

// takeAll takes events until none may be sent beside those in flight.
func takeAll(q *queue) (ids []int64) {
	for at := q.next(); at >= 0; at = q.next() {
		ids = append(ids, q.take(at).ID)
	}
	return ids
}

func TestQueue_OrderByResource(t *testing.T) {
	t.Parallel()
	for ordering, want := range map[webhook.Ordering][]int64{"": {1, 2, 3, 4}, webhook.OrderingResource: {1, 3}} {
		q := testQueue(ordering, "a", "a", "b", "a")
		if got := takeAll(q); !slices.Equal(got, want) {
			t.Errorf("ordering %q: %v in flight, want %v", ordering, got, want)
		}
	}
	q := testQueue(webhook.OrderingResource, "a", "a", "b", "a")
	takeAll(q)
	q.sent(1)
	if got := takeAll(q); !slices.Equal(got, []int64{2}) {
		t.Errorf("after the first: %v, want the second", got)
	}
}

func TestQueue_DoneStopsBeforeTheOldestUndoneEvent(t *testing.T) {
	t.Parallel()
	q := testQueue(webhook.OrderingResource, "a", "a", "b")
	takeAll(q) // 1 and 3
	q.sent(3)
	if got := q.done(9); got != 0 {
		t.Errorf("done is %d while 1 is in flight", got)
	}
	q.sent(1)
	if got := q.done(9); got != 1 || !q.isAhead(3) || q.isAhead(2) || q.lastAhead() != 3 {
		t.Errorf("done is %d while 2 waits; 3 is ahead: %t", got, q.isAhead(3))
	}
	takeAll(q)
	q.sent(2)
	if got := q.done(9); got != 9 {
		t.Errorf("done is %d, want all", got)
	}
	q.forgetAhead(9)
	if q.lastAhead() != 0 {
		t.Error("an event is remembered as ahead of nothing")
	}
}

func TestQueue_HoldsMemoryUntilReleased(t *testing.T) {
	t.Parallel()
	q := testQueue("", "a", "b", "c")
	event := q.take(0)
	q.sent(event.ID)
	if first, found := q.clear(); first != 2 || !found {
		t.Errorf("the first of the rest is %d", first)
	}
	if q.pool.bytes != 2 {
		t.Errorf("%d bytes held while one event is in flight", q.pool.bytes)
	}
	q.release(event.ID)
	if _, found := q.clear(); found || q.pool.bytes != 0 {
		t.Errorf("%d bytes held", q.pool.bytes)
	}
}

func TestQueue_BlockedKeys(t *testing.T) {
	t.Parallel()
	about := func(resource string) *outbox.Event { return &outbox.Event{Resource: resource} }
	q := testQueue(webhook.OrderingResource)
	q.blocked.add(q.key(about("a")))
	q.blocked.add(q.key(about("a")))
	if !q.isBlocked(about("a")) || q.isBlocked(about("b")) || q.halted() {
		t.Error("two retries of a must block a, and nothing else")
	}
	if q.blocked.remove(q.key(about("a"))) || !q.isBlocked(about("a")) {
		t.Error("a is free while it has a retry")
	}
	if !q.blocked.remove(q.key(about("a"))) || q.isBlocked(about("a")) {
		t.Error("a is blocked without a retry")
	}
	strict := testQueue(webhook.OrderingStrict)
	strict.blocked.add(outbox.StrictKey)
	if !strict.halted() {
		t.Error("with strict ordering, a retry must block everything")
	}
}

// A failed delivery that must stay in order takes the queued events of its resource along: they become retries after it.
func TestDispatcher_BlockDefersQueuedEventsOfTheKey(t *testing.T) {
	t.Parallel()
	d, e := testEndpoint(t, webhook.OrderingResource)
	for id, resource := range []string{"", "a", "b", "a"} {
		e.queue.push(&outbox.Event{ID: int64(id), Resource: resource, Body: []byte("{}")})
	}
	key := outbox.ResourceKey("a")
	d.block(e, key, true)
	if len(e.queue.blocked.count) > 0 {
		t.Error("a dead delivery blocks its resource")
	}
	d.block(e, key, false)
	if e.queue.len() != 2 || e.queue.blocked.count[key] != 3 || len(d.recorder.pending.Retries) != 2 || d.recorder.pending.Retries[1].Event != 3 {
		t.Errorf("%d queued, blocked %v, retries %v", e.queue.len(), e.queue.blocked.count, d.recorder.pending.Retries)
	}
}
