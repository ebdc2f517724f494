package delivery

import "github.com/iam-relay/iam-relay/relay/outbox"

// poolBytes bounds the bodies of all events that wait or are being sent. An endpoint that has no room in it reads the event log
// later.
const poolBytes = 16 << 20

// eventPool holds the events that wait for an endpoint or are being sent to one, each body once however many endpoints it goes
// to, and shares the memory among the tenants of the webhooks: each may hold at most as many bytes as are free, so that a
// tenant whose endpoints do not take their events leaves room for the others.
type eventPool struct {
	limit   int
	bytes   int
	tenants map[string]int
	events  map[int64]*pooledEvent
}

type pooledEvent struct {
	event   *outbox.Event
	holders []holder
}

type holder struct {
	tenant string
	n      int
}

func newEventPool(limit int) *eventPool {
	return &eventPool{limit: limit, tenants: map[string]int{}, events: map[int64]*pooledEvent{}}
}

// hold returns the event to be used by one more endpoint of the tenant: the one with the body that is in the pool.
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

// release is called once for each hold.
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

// room is how many more bytes the tenant may hold. Endpoints that are not known to take their events have a half of it.
func (p *eventPool) room(tenant string, pace pace) int {
	free := p.limit - p.bytes
	if pace != proven {
		free /= 2
	}
	return free - p.tenants[tenant]
}

// mayHold reports whether an endpoint of the tenant may take another event: there is room, or the tenant holds nothing, and the pool is not
// over its limit by more than that.
func (p *eventPool) mayHold(tenant string, pace pace) bool {
	return p.room(tenant, pace) > 0 || p.tenants[tenant] == 0 && p.bytes < 2*p.limit
}

// pinned is the holder of events that a read relies on.
const pinned = "\x00pinned"

// pinAfter holds the large events after one and up to another, so that a read need not bring their bodies. It returns their ids.
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

// largeBody is from what size on a body is worth not being read twice.
const largeBody = 8 << 10

func (p *eventPool) unpin(ids []int64) {
	for _, id := range ids {
		p.release(pinned, id)
	}
}
