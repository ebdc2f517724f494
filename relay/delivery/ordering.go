package delivery

import (
	"context"
	"maps"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// order is what an endpoint knows of deliveries that hold up later ones.
type order struct {
	// blocked counts the parked deliveries by what they are ordered by. Nothing passes them.
	blocked map[string]int
	// ahead are the events that were taken before older ones of other resources: should those be read again, these are not
	// sent again.
	ahead map[int64]struct{}
	// moves counts the changes of blocked, so that a look at the store can tell whether it is still true.
	moves int
}

// key is what the event is ordered by, empty for no order.
func (e *endpoint) key(event *outbox.Event) string {
	switch e.options.Ordering {
	case webhook.OrderingStrict:
		return outbox.StrictKey
	case webhook.OrderingResource:
		return outbox.ResourceKey(event.Resource)
	}
	return ""
}

// halted reports whether nothing at all may be sent until a parked delivery is done.
func (e *endpoint) halted() bool {
	return e.options.Ordering == webhook.OrderingStrict && e.blocked[outbox.StrictKey] > 0
}

// pick is the index of the first event in the queue that may be sent beside those that are on their way, or -1.
func (e *endpoint) pick() int {
	if len(e.queue) == 0 {
		return -1
	}
	if e.options.Ordering != webhook.OrderingResource {
		return 0 // strict allows one request at a time, so the first
	}
	busy := make(map[string]bool, len(e.sending))
	for _, key := range e.sending {
		busy[key] = true
	}
	for i, event := range e.queue {
		if !busy[e.key(event)] {
			return i
		}
	}
	return -1
}

// sentAhead reports whether the event has been sent already, while older ones were still waiting.
func (e *endpoint) sentAhead(id int64) bool {
	_, ahead := e.ahead[id]
	return ahead
}

// settled forgets what lies behind the endpoint's place.
func (e *endpoint) settled(place int64) {
	maps.DeleteFunc(e.ahead, func(id int64, _ struct{}) bool { return id <= place })
}

// parkBehind parks an event whose time has come, but which must not pass one that is parked.
func (d *Dispatcher) parkBehind(e *endpoint, event *outbox.Event, key string) {
	d.ledger.park(outbox.Retry{Event: event.ID, Webhook: e.id, Due: time.Now(), Key: key})
	e.ahead[event.ID] = struct{}{}
	e.blocked[key]++
	e.moves++
}

// hold notes a parked delivery that holds up others, and parks those of its key that wait already.
func (d *Dispatcher) hold(e *endpoint, key string, dead, again bool) {
	switch {
	case key == "":
		return
	case again && dead && key != outbox.StrictKey:
		d.release(e, key)
		return
	case again || dead && key != outbox.StrictKey:
		return
	}
	e.blocked[key]++
	e.moves++
	if key == outbox.StrictKey {
		d.clear(e)
		return
	}
	kept := e.queue[:0]
	for _, event := range e.queue {
		if e.key(event) == key {
			d.parkBehind(e, event, key)
			d.pool.release(e.account, event.ID)
		} else {
			kept = append(kept, event)
		}
	}
	clear(e.queue[len(kept):])
	e.queue = kept
}

// release notes that a parked delivery is done, or, where the order is kept by resource, dead.
func (d *Dispatcher) release(e *endpoint, key string) {
	if key == "" {
		return
	}
	e.moves++
	if e.blocked[key]--; e.blocked[key] <= 0 {
		delete(e.blocked, key)
		d.advance(e)
	}
}

// blockedOf returns what holds up those of the webhooks that keep an order.
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

// unblock looks in the store whether what holds up the endpoints still does: somebody may have skipped it by hand, or
// another relay may have delivered it.
func (d *Dispatcher) unblock(ctx context.Context) error {
	moves := map[int64]int{}
	d.mu.Lock()
	if d.ledger.unwritten() { // not in the store yet; once it is looked at, this may have changed, and moves tells of the rest
		d.mu.Unlock()
		return nil
	}
	for id, e := range d.endpoints {
		if e.served && len(e.blocked) > 0 {
			moves[id] = e.moves
		}
	}
	d.mu.Unlock()
	if len(moves) == 0 {
		return nil
	}
	ids := make([]int64, 0, len(moves))
	for id := range moves {
		ids = append(ids, id)
	}
	blocked, err := d.Store.Blocked(ctx, ids)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, seen := range moves {
		if e := d.endpoints[id]; e != nil && e.served && e.moves == seen && e.retries == 0 && !maps.Equal(e.blocked, blocked[id]) {
			e.blocked = blocked[id]
			if e.blocked == nil {
				e.blocked = map[string]int{}
			}
			d.advance(e)
		}
	}
	return nil
}
