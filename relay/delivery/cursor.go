package delivery

import (
	"math"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// cursor is an endpoint's position in the event log.
type cursor struct {
	// catchingUp: the events after readFrom are not in the queue; the endpoint reads them from the event log.
	catchingUp bool
	readFrom   int64
	reading    bool // a read is in progress, or waits for its turn
	// exists: the endpoint has a cursor in the outbox, or will have at the next record. Without one it counts for the watermark.
	exists bool
	stored *int64 // as last recorded
}

// startCatchUp makes the endpoint read the event log from the event after the given one.
func (c *cursor) startCatchUp(after int64) {
	c.catchingUp, c.exists, c.readFrom = true, true, after
}

// limit is the last event that the endpoint need not read again.
func (c *cursor) limit() int64 {
	if c.catchingUp {
		return c.readFrom
	}
	return math.MaxInt64
}

// through is the last event that has reached the queue.
func (c *cursor) through(head int64) int64 {
	if c.catchingUp {
		return c.readFrom
	}
	return head
}

// done is the event up to which nothing is left to do for the endpoint but retries.
func (e *endpoint) done(head int64) int64 { return e.queue.done(e.cursor.through(head)) }

// idle reports whether nothing is queued, in flight or being read.
func (e *endpoint) idle() bool {
	return e.queue.size() == 0 && !e.cursor.reading && e.retries == 0 && !e.breaker.probing
}

// currentWatermark is the event up to which all endpoints without a cursor are done. Only the leader has such endpoints.
func (d *Dispatcher) currentWatermark() int64 {
	if d.leader == nil {
		return d.watermark
	}
	watermark := d.head
	for _, e := range d.endpoints {
		if e.owned && !e.cursor.exists && !e.gone() {
			watermark = min(watermark, e.done(d.head))
		}
	}
	return max(watermark, d.watermark)
}

// recordCursor adds the endpoint's cursor to the batch if it has moved. The leader removes the cursor once the endpoint has caught up
// with the watermark, so that the watermark never moves back. Another relay then releases the endpoint: only the leader has live ones.
func (d *Dispatcher) recordCursor(e *endpoint, watermark int64, cursors map[int64]outbox.CursorUpdate) {
	if !e.owned {
		return
	}
	done := e.done(d.head)
	e.queue.forgetAhead(done)
	if !e.cursor.exists {
		return
	}
	switch {
	case d.leader != nil && (e.gone() || !e.cursor.catchingUp && done >= watermark) && (done == watermark || !d.drained):
		e.cursor.exists = false
		if e.cursor.stored != nil {
			e.cursor.stored = nil
			cursors[e.id] = outbox.CursorUpdate{Live: true}
		}
	case e.idle() && d.mayRelease(e):
		cursors[e.id] = outbox.CursorUpdate{Cursor: done, Released: true}
		d.disown(e)
	case e.cursor.stored == nil || *e.cursor.stored != done:
		e.cursor.stored = &done
		cursors[e.id] = outbox.CursorUpdate{Cursor: done}
	}
}

// mayRelease reports whether the endpoint is to be released, or has caught up at a relay that does not lead. One that was sent events
// beyond its cursor, past older ones of other resources, is kept: the next owner would send them again.
func (d *Dispatcher) mayRelease(e *endpoint) bool {
	if e.queue.lastAhead() > 0 && !e.gone() {
		return false
	}
	finished := d.leader == nil && e.state() == stateCatchingUp && e.cursor.readFrom >= d.head && e.ready()
	return e.may().release && (e.releasing || finished)
}
