package delivery

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// queue holds the events of one endpoint that wait for a request or are in one, and decides which may be sent next. With ordering
// by resource, an event passes older ones of other resources; with strict ordering it passes none. Retries that later events
// must not pass are in blocked.
type queue struct {
	ordering webhook.Ordering
	pool     *eventPool // holds the bodies
	tenant   string     // whose share of the pool they count against; it never changes
	events   []*outbox.Event
	sending  map[int64]string // events in flight, with their order keys
	// ahead are the events that were taken before older ones of other resources. If those are read again, these are not sent again.
	ahead   map[int64]struct{}
	blocked blockedKeys
}

func newQueue(pool *eventPool, tenant string) queue {
	return queue{pool: pool, tenant: tenant, sending: map[int64]string{}, ahead: map[int64]struct{}{}, blocked: newBlockedKeys(nil)}
}

func (q *queue) len() int { return len(q.events) }

// size counts the events that wait and those in flight.
func (q *queue) size() int { return len(q.events) + len(q.sending) }

func (q *queue) push(event *outbox.Event) { q.events = append(q.events, q.pool.hold(q.tenant, event)) }

// next is the index of the first event that may be sent beside those in flight, or -1. With strict ordering the caller allows one
// request at a time, so it is the first.
func (q *queue) next() int {
	if len(q.events) == 0 {
		return -1
	}
	if q.ordering != webhook.OrderingResource {
		return 0
	}
	busy := make(map[string]bool, len(q.sending))
	for _, key := range q.sending {
		busy[key] = true
	}
	return slices.IndexFunc(q.events, func(event *outbox.Event) bool { return !busy[q.key(event)] })
}

// take moves an event from the queue to those in flight.
func (q *queue) take(at int) *outbox.Event {
	event := q.events[at]
	if at == 0 {
		q.events[0] = nil
		q.events = q.events[1:]
	} else {
		q.events = slices.Delete(q.events, at, at+1)
		q.ahead[event.ID] = struct{}{}
	}
	q.sending[event.ID] = q.key(event)
	return event
}

// release frees the memory of an event that was taken.
func (q *queue) release(id int64) { q.pool.release(q.tenant, id) }

// sent ends an event's request. Until then it keeps the cursor from moving past it.
func (q *queue) sent(id int64) { delete(q.sending, id) }

// isAhead reports whether the event was sent already, while older ones were waiting.
func (q *queue) isAhead(id int64) bool {
	_, ahead := q.ahead[id]
	return ahead
}

// forgetAhead forgets events that are never read again.
func (q *queue) forgetAhead(through int64) {
	maps.DeleteFunc(q.ahead, func(id int64, _ struct{}) bool { return id <= through })
}

// lastAhead is the newest event that was taken before older ones, 0 if there is none.
func (q *queue) lastAhead() (last int64) {
	for id := range q.ahead {
		last = max(last, id)
	}
	return last
}

// done is the event up to which everything is done, if the queue has received everything through a given event.
func (q *queue) done(through int64) int64 {
	if len(q.events) > 0 {
		through = min(through, q.events[0].ID-1)
	}
	for id := range q.sending {
		through = min(through, id-1)
	}
	return through
}

// clear removes all waiting events and returns the first one's id.
func (q *queue) clear() (first int64, found bool) {
	if len(q.events) == 0 {
		return 0, false
	}
	first = q.events[0].ID
	for _, event := range q.events {
		q.release(event.ID)
	}
	q.events = nil
	return first, true
}

// remove removes the waiting events that match, and passes each to removed.
func (q *queue) remove(match func(*outbox.Event) bool, removed func(*outbox.Event)) {
	q.events = slices.DeleteFunc(q.events, func(event *outbox.Event) bool {
		if !match(event) {
			return false
		}
		removed(event)
		q.release(event.ID)
		return true
	})
}

// restore starts over with the blocked keys that the outbox knows.
func (q *queue) restore(blocked map[string]int) {
	q.blocked.count, q.ahead = newBlockedKeys(blocked).count, map[int64]struct{}{}
	q.blocked.changes++
}
