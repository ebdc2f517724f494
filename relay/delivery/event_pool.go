package delivery

import "github.com/iam-relay/iam-relay/relay/outbox"

// poolBytes bounds the bodies of all events that are queued or in flight. An endpoint for which there is no room reads the event log
// later.
const poolBytes = 16 << 20

// eventPool holds the bodies of the events that are queued or in flight, each once, to however many endpoints it goes. It shares the memory
// among the tenants of the webhooks: each may hold at most as many bytes as are free, so that a tenant whose endpoints do not accept their
// events leaves room for the others.
type eventPool struct {
	limit   int
	bytes   int
	tenants map[string]int // bytes held
	events  map[int64]*pooledEvent
}

type pooledEvent struct {
	event   *outbox.Event
	holders []holder
}

// holder is a tenant with its number of endpoints that hold an event.
type holder struct {
	tenant string
	n      int
}

func newEventPool(limit int) *eventPool {
	return &eventPool{limit: limit, tenants: map[string]int{}, events: map[int64]*pooledEvent{}}
}

// hold returns the event with the body that is in the pool, for one more endpoint of the tenant.
func (p *eventPool) hold(tenant string, event *outbox.Event) *outbox.Event {
	pooled := p.events[event.ID]
	if pooled == nil {
		pooled = &pooledEvent{event: event}
		p.events[event.ID] = pooled
		p.bytes += len(event.Body)
	}
	for i := range pooled.holders {
		if pooled.holders[i].tenant == tenant {
			pooled.holders[i].n++
			return pooled.event
		}
	}
	pooled.holders = append(pooled.holders, holder{tenant, 1})
	p.tenants[tenant] += len(pooled.event.Body)
	return pooled.event
}

// release ends one hold.
func (p *eventPool) release(tenant string, id int64) {
	pooled := p.events[id]
	if pooled == nil {
		return
	}
	for i := range pooled.holders {
		h := &pooled.holders[i]
		if h.tenant != tenant {
			continue
		}
		if h.n--; h.n == 0 {
			p.free(tenant, len(pooled.event.Body))
			*h = pooled.holders[len(pooled.holders)-1]
			pooled.holders = pooled.holders[:len(pooled.holders)-1]
		}
		break
	}
	if len(pooled.holders) == 0 {
		p.bytes -= len(pooled.event.Body)
		delete(p.events, id)
	}
}

func (p *eventPool) free(tenant string, bytes int) {
	if p.tenants[tenant] -= bytes; p.tenants[tenant] <= 0 {
		delete(p.tenants, tenant)
	}
}

// room is how many more bytes the tenant may hold: half as many for an endpoint that is not proven to accept its events.
func (p *eventPool) room(tenant string, pace pace) int {
	free := p.limit - p.bytes
	if pace != proven {
		free /= 2
	}
	return free - p.tenants[tenant]
}

// mayHold reports whether an endpoint of the tenant may queue another event: there is room, or the tenant holds nothing and the pool is
// less than twice full.
func (p *eventPool) mayHold(tenant string, pace pace) bool {
	return p.room(tenant, pace) > 0 || p.tenants[tenant] == 0 && p.bytes < 2*p.limit
}

// pinned stands for a tenant: it holds the events whose bodies a read leaves out.
const pinned = "\x00pinned"

// pinAfter holds the large events in (after, through], so that a read can leave out their bodies. It returns their ids.
func (p *eventPool) pinAfter(after, through int64) []int64 {
	ids := []int64{}
	for id, pooled := range p.events {
		if id > after && id <= through && len(pooled.event.Body) >= largeBody {
			ids = append(ids, id)
		}
	}
	for _, id := range ids {
		p.hold(pinned, p.events[id].event)
	}
	return ids
}

// largeBody is the size from which on a body in memory is not read again.
const largeBody = 8 << 10

// unpin ends the hold of pinAfter.
func (p *eventPool) unpin(ids []int64) {
	for _, id := range ids {
		p.release(pinned, id)
	}
}
