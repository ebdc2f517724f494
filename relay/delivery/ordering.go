package delivery

import (
	"context"
	"maps"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// blockedKeys counts the retries that later events with the same order key must not pass.
type blockedKeys struct {
	count map[string]int
	// changes increases with every change, so that a reader of the outbox can see that what it has read is out of date.
	changes int
}

func newBlockedKeys(count map[string]int) blockedKeys {
	b := blockedKeys{count: maps.Clone(count)}
	if b.count == nil {
		b.count = map[string]int{}
	}
	return b
}

func (b *blockedKeys) add(key string) {
	b.count[key]++
	b.changes++
}

// remove reports whether the key is free now.
func (b *blockedKeys) remove(key string) bool {
	b.changes++
	if b.count[key]--; b.count[key] > 0 {
		return false
	}
	delete(b.count, key)
	return true
}

// key is the event's order key: events with the same key are delivered in order. It is empty without an order.
func (q *queue) key(event *outbox.Event) string {
	switch q.ordering {
	case webhook.OrderingStrict:
		return outbox.StrictKey
	case webhook.OrderingResource:
		return outbox.ResourceKey(event.Resource)
	}
	return ""
}

// isBlocked reports whether the event must wait for a retry of its resource.
func (q *queue) isBlocked(event *outbox.Event) bool {
	return q.ordering == webhook.OrderingResource && q.blocked.count[q.key(event)] > 0
}

// halted reports whether nothing may be sent until a retry is done: with strict ordering, a retry blocks all events.
func (q *queue) halted() bool {
	return q.ordering == webhook.OrderingStrict && q.blocked.count[outbox.StrictKey] > 0
}

// deferEvent makes an event a retry that is due at once: it must not pass a retry of its resource, and is claimed after it.
func (d *Dispatcher) deferEvent(e *endpoint, event *outbox.Event) {
	key := e.queue.key(event)
	d.recorder.retry(outbox.Retry{Event: event.ID, Webhook: e.id, Due: time.Now(), Key: key})
	e.queue.ahead[event.ID] = struct{}{}
	e.queue.blocked.add(key)
}

// block notes a new retry that later events must not pass. A dead one blocks only strict ordering.
func (d *Dispatcher) block(e *endpoint, key string, dead bool) {
	if key == "" || dead && key != outbox.StrictKey {
		return
	}
	e.queue.blocked.add(key)
	if key == outbox.StrictKey {
		e.emptyQueue()
		return
	}
	e.queue.remove(
		func(event *outbox.Event) bool { return e.queue.key(event) == key },
		func(event *outbox.Event) { d.deferEvent(e, event) },
	)
}

// unblockDead unblocks a key whose retry has become dead, except with strict ordering.
func (d *Dispatcher) unblockDead(e *endpoint, key string) {
	if key != outbox.StrictKey {
		d.unblock(e, key)
	}
}

// unblock notes that a retry is done.
func (d *Dispatcher) unblock(e *endpoint, key string) {
	if key != "" && e.queue.blocked.remove(key) {
		d.advance(e)
	}
}

// Blocked counts the retries that block later deliveries of the webhooks that keep an order, by webhook and order key.
func (d *Dispatcher) Blocked(ctx context.Context, webhooks []outbox.Webhook) (map[int64]map[string]int, error) {
	var ordered []int64
	for i := range webhooks {
		if webhooks[i].Exclusive {
			ordered = append(ordered, webhooks[i].ID)
		}
	}
	if len(ordered) == 0 {
		return nil, nil
	}
	return d.Store.Blocked(ctx, ordered)
}

// refreshBlocked reads from the outbox whether the endpoints are still blocked: a retry may have been skipped by command, or
// delivered by another relay.
func (d *Dispatcher) refreshBlocked(ctx context.Context) error {
	seen := d.blockedEndpoints()
	if len(seen) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	blocked, err := d.Store.Blocked(ctx, ids)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, changes := range seen {
		e := d.endpoints[id]
		if e == nil || !e.owned || e.queue.blocked.changes != changes || e.retries > 0 || maps.Equal(e.queue.blocked.count, blocked[id]) {
			continue
		}
		e.queue.blocked.count = newBlockedKeys(blocked[id]).count
		d.advance(e)
	}
	return nil
}

// blockedEndpoints returns the blocked endpoints with their number of changes; none while the outbox does not know all retries.
func (d *Dispatcher) blockedEndpoints() map[int64]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recorder.hasUnrecordedRetries() {
		return nil
	}
	seen := map[int64]int{}
	for id, e := range d.endpoints {
		if e.owned && len(e.queue.blocked.count) > 0 {
			seen[id] = e.queue.blocked.changes
		}
	}
	return seen
}
