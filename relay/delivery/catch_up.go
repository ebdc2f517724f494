package delivery

import (
	"slices"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// maxReads is how many reads of the event log may go on at a time: the rest of the pool's connections are for those that record
	// and claim.
	maxReads = 2
	// readSlice is how many events an endpoint that is behind takes from the event log at a time, and readBytes how many bytes. One
	// that is not known to take them has less of both.
	readSlice = 250
	readBytes = poolBytes / 4
	readFew   = 4
	readLess  = 256 << 10
)

// logReads shares the reads of the event log among the endpoints that are behind: tenants and their hosts take turns, those
// that are known to take their events and the others as well.
type logReads struct {
	slots   chan struct{} // connections in use
	active  int
	waiting [2]fairQueue[*endpoint]
	turn    int
}

func newLogReads() logReads { return logReads{slots: make(chan struct{}, maxReads)} }

func readLane(e *endpoint) int {
	if e.pace() == proven {
		return 0
	}
	return 1
}

// mayRead reports whether an endpoint that is behind should take more events into its queue.
func (d *Dispatcher) mayRead(e *endpoint) bool {
	return e.behind && e.served && e.open() && !e.letGo && !d.closing && len(e.queue) <= readSlice/2
}

// refill reads on in the event log for an endpoint that is behind, as its queue runs low, once it is its turn.
func (d *Dispatcher) refill(e *endpoint) {
	if e.reading || !d.mayRead(e) || d.caughtUp(e) {
		return
	}
	e.reading = true
	d.reads.waiting[readLane(e)].push(e.group, e)
	d.startReads()
}

// caughtUp reports whether the event log has nothing more for the endpoint. At the leader it is live from then on: what comes
// next is pushed.
func (d *Dispatcher) caughtUp(e *endpoint) bool {
	if e.readFrom < d.head {
		return false
	}
	if d.leader != nil {
		e.behind = false
	}
	return true
}

// startReads starts as many reads as may go on.
func (d *Dispatcher) startReads() {
	for d.reads.active < maxReads {
		e := d.nextReader()
		if e == nil {
			return
		}
		if !d.mayRead(e) || d.caughtUp(e) {
			e.reading = false
			continue
		}
		d.reads.active++
		from, through := e.readFrom, d.head
		limit, bytes := d.readSize(e)
		pinned := d.pool.pinAfter(from, through)
		d.workers.Go(func() {
			events, through, err := d.readEvents(e.id, from, through, limit, bytes, pinned)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.reads.active--
			e.reading = false
			d.took(e, from, events, pinned, through, err)
			d.pool.unpin(pinned)
			d.advance(e)
			d.startReads()
		})
	}
}

func (d *Dispatcher) nextReader() *endpoint {
	for range d.reads.waiting {
		lane := d.reads.turn % len(d.reads.waiting)
		d.reads.turn++
		pace := proven
		if lane > 0 {
			pace = unknown
		}
		e, ok := d.reads.waiting[lane].next(
			func(tenant string) bool { return d.pool.mayHold(tenant, pace) },
			func(group) bool { return true },
		)
		if ok {
			return e
		}
	}
	return nil
}

// readSize is how many events and bytes the endpoint may take at a time. It gets one event at least.
func (d *Dispatcher) readSize(e *endpoint) (events, bytes int) {
	room := d.pool.room(e.account, e.pace())
	if e.pace() == proven {
		return readSlice, max(1, min(readBytes, room))
	}
	return readFew * e.mayWork(), max(1, min(readLess, room))
}

func (d *Dispatcher) readEvents(webhook, from, through int64, limit, bytes int, held []int64) ([]outbox.Event, int64, error) {
	d.reads.slots <- struct{}{}
	defer func() { <-d.reads.slots }()
	return d.Store.ReadEvents(d.sendCtx, outbox.Read{Webhook: webhook, After: from, Through: through, Limit: limit, Bytes: bytes, WithoutBody: held, MaxBody: d.Sender.MaxPayload()})
}

// took queues what was read, unless the endpoint is to go on from another place by now, or elsewhere. The bodies of pinned events
// are in the pool.
func (d *Dispatcher) took(e *endpoint, from int64, events []outbox.Event, pinned []int64, through int64, err error) {
	if err != nil {
		d.ledger.fail(err)
		return
	}
	if !e.served || !e.open() || e.letGo || !e.behind || e.readFrom != from {
		return
	}
	e.readFrom = through
	for i := range events {
		event := &events[i]
		if slices.Contains(pinned, event.ID) {
			event = d.pool.events[event.ID].event
		}
		d.enqueue(e, event)
	}
}
