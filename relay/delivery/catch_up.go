package delivery

import (
	"slices"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// maxReads is how many reads of the event log may run at a time. The other connections of the pool record and claim.
	maxReads = 2
	// readEvents and readBytes bound one read of the event log. For an endpoint that is not proven to accept its events, the bounds are
	// unprovenEvents for each request that it may have in flight, and unprovenBytes.
	readEvents     = 250
	readBytes      = poolBytes / 4
	unprovenEvents = 4
	unprovenBytes  = 256 << 10
)

// catchUpReads shares the reads of the event log among the endpoints that catch up. Tenants take turns, within a tenant its hosts; and so do
// the endpoints that are proven to accept their events and the others.
type catchUpReads struct {
	connections chan struct{} // holds one element for each connection in use
	active      int
	proven      fairQueue[*endpoint]
	unproven    fairQueue[*endpoint]
	turn        int
}

func newCatchUpReads() catchUpReads { return catchUpReads{connections: make(chan struct{}, maxReads)} }

func (r *catchUpReads) wait(e *endpoint) {
	if e.pacing.pace() == proven {
		r.proven.push(e.group, e)
	} else {
		r.unproven.push(e.group, e)
	}
}

// next returns the endpoint whose turn it is and whose tenant may hold more events in memory, or nil.
func (r *catchUpReads) next(pool *eventPool) *endpoint {
	queues := [...]struct {
		waiting *fairQueue[*endpoint]
		pace    pace
	}{{&r.proven, proven}, {&r.unproven, unknown}}
	for range queues {
		q := queues[r.turn%len(queues)]
		r.turn++
		e, ok := q.waiting.next(
			func(tenant string) bool { return pool.mayHold(tenant, q.pace) },
			func(group) bool { return true },
		)
		if ok {
			return e
		}
	}
	return nil
}

// wantsRead reports whether the endpoint should read on in the event log.
func (d *Dispatcher) wantsRead(e *endpoint) bool {
	if d.closing || !e.mayReadLog() || e.queue.len() > readEvents/2 {
		return false
	}
	if e.cursor.readFrom >= d.head {
		e.caughtUp(d.leader != nil)
		return false
	}
	return true
}

// requestRead reads on for an endpoint that catches up and whose queue runs low, once it is its turn.
func (d *Dispatcher) requestRead(e *endpoint) {
	if e.cursor.reading || !d.wantsRead(e) {
		return
	}
	e.cursor.reading = true
	d.reads.wait(e)
	d.startReads()
}

// startReads starts as many reads as may run.
func (d *Dispatcher) startReads() {
	for d.reads.active < maxReads {
		e := d.reads.next(d.pool)
		if e == nil {
			return
		}
		if !d.wantsRead(e) {
			e.cursor.reading = false
			continue
		}
		d.reads.active++
		read := d.nextRead(e)
		d.workers.Go(func() { d.read(e, read) })
	}
}

// nextRead pins the large events that are in memory, so that their bodies need not be read. An endpoint gets at least one event.
func (d *Dispatcher) nextRead(e *endpoint) outbox.Read {
	room := d.pool.room(e.queue.tenant, e.pacing.pace())
	events, bytes := unprovenEvents*e.maxAttempts(), unprovenBytes
	if e.pacing.pace() == proven {
		events, bytes = readEvents, readBytes
	}
	return outbox.Read{
		Webhook: e.id, After: e.cursor.readFrom, Through: d.head, Limit: events, Bytes: max(1, min(bytes, room)),
		WithoutBody: d.pool.pinAfter(e.cursor.readFrom, d.head), MaxBody: d.Sender.MaxPayload(),
	}
}

func (d *Dispatcher) read(e *endpoint, r outbox.Read) {
	d.reads.connections <- struct{}{}
	events, through, err := d.Store.ReadEvents(d.sendCtx, r)
	<-d.reads.connections
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads.active--
	e.cursor.reading = false
	if err != nil {
		d.recorder.fail(err)
	} else {
		d.enqueueRead(e, &r, events, through)
	}
	d.pool.unpin(r.WithoutBody)
	d.advance(e)
	d.startReads()
}

// enqueueRead queues the events that were read, unless the endpoint's state or cursor has changed meanwhile.
func (d *Dispatcher) enqueueRead(e *endpoint, r *outbox.Read, events []outbox.Event, through int64) {
	if !e.mayReadLog() || e.cursor.readFrom != r.After {
		return
	}
	e.cursor.readFrom = through
	for i := range events {
		event := &events[i]
		if slices.Contains(r.WithoutBody, event.ID) {
			event = d.pool.events[event.ID].event
		}
		d.enqueue(e, event)
	}
}
