// Package delivery delivers the events of the outbox to the endpoints of webhooks.
//
// The leader's Dispatcher queues new events from memory (live endpoints). An endpoint whose queue is full, or that was paused, reads
// the event log from its cursor instead (catching up), at whichever relay has leased it, until it has caught up. A delivery that fails
// becomes a retry with its own schedule, which any relay may send. No endpoint waits for another, and ingestion for none.
//
//	Dispatch ─▶ queue ─▶ scheduler ─▶ send ─▶ finishAttempt ─▶ recorder ─▶ outbox
//	event log ─▶ catch-up reads ─▲              └─ breaker, congestion window, retry
//	retries that are due ─▶ retry scheduler ─▶ send ─▶ finishRetry ─▶ recorder
package delivery

import (
	"context"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Dispatcher delivers during one membership: Run, then Stop and FlushAll. Its methods are safe for concurrent use.
type Dispatcher struct {
	Config

	mu        sync.Mutex // guards everything below
	leader    Leader     // nil while another relay leads
	endpoints map[int64]*endpoint
	head      int64 // the newest event of the event log, as far as known here
	watermark int64 // as recorded by the leader: all endpoints without a cursor are done up to this event
	forgotten []int64

	pool           *eventPool
	scheduler      *scheduler // for first attempts and probes
	retryScheduler *scheduler
	reads          catchUpReads
	recorder       recorder
	proven         bool // an attempt of this membership is recorded
	held           bool // attempts wait until others are recorded
	stretch        int  // factor of the intervals of periodic work: 1, more in a simulation of years

	closing bool
	drained bool // nothing is in flight any more, and cursors are set for the next leader
	// sendCtx ends the requests in flight when draining takes too long.
	sendCtx       context.Context
	cancelSending context.CancelFunc
	workers       sync.WaitGroup
}

// New returns a Dispatcher that delivers nothing until Run is called.
func New(c Config) *Dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	return &Dispatcher{
		Config: c, endpoints: map[int64]*endpoint{}, sendCtx: ctx, cancelSending: cancel, stretch: 1,
		pool: newEventPool(poolBytes), scheduler: newScheduler(c.Senders), retryScheduler: newScheduler(retrySenders),
		reads: newCatchUpReads(), recorder: newRecorder(),
	}
}

// Lead makes this relay deliver to all webhooks without a cursor, which only a leader does. blocked comes from Blocked.
func (d *Dispatcher) Lead(leader Leader, p outbox.Position, webhooks []outbox.Webhook, blocked map[int64]map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leader, d.head, d.watermark = leader, p.LastEvent, p.Delivered
	for i := range webhooks {
		w := &webhooks[i]
		e := d.endpoints[w.ID]
		if e == nil {
			e = d.newEndpoint(w)
		}
		if w.Cursor != nil || e.owned {
			continue // it is claimed unless another relay delivers to it
		}
		e.led(d.watermark, d.head)
		d.restore(e, w, blocked[w.ID])
	}
	for _, e := range d.endpoints {
		d.advance(e)
	}
}

// Update takes over new, changed and removed webhooks.
func (d *Dispatcher) Update(webhooks []outbox.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		w := &webhooks[i]
		if e := d.endpoints[w.ID]; e != nil {
			d.configure(e, w)
			d.advance(e)
		} else if d.leader != nil {
			d.newEndpoint(w).created(d.head, w.Cursor == nil)
		}
	}
}

// Forget drops removed webhooks that have nothing left to deliver.
func (d *Dispatcher) Forget(webhooks []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range webhooks {
		if e := d.endpoints[id]; e != nil {
			d.disown(e)
			delete(d.endpoints, id)
		}
	}
	d.forgotten = append(d.forgotten, webhooks...)
}

// TakeForgotten returns the webhooks that were forgotten since the last call.
func (d *Dispatcher) TakeForgotten() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := d.forgotten
	d.forgotten = nil
	return ids
}

// Dispatch queues events that were just committed for their endpoints.
func (d *Dispatcher) Dispatch(events []outbox.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range events {
		event := &events[i]
		d.head = event.ID
		for _, id := range event.Webhooks {
			if e := d.endpoints[id]; e != nil {
				d.push(e, event)
			}
		}
	}
}

// Skip moves the head past events that were not kept in memory. Their webhooks read them from the event log.
func (d *Dispatcher) Skip(head int64, webhooks map[int64]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.head
	d.head = head
	for id := range webhooks {
		if e := d.endpoints[id]; e != nil && e.owned && !e.cursor.catchingUp {
			e.fellBehind(from)
			d.advance(e)
		}
	}
}

// push queues a new event, or leaves it to be read from the event log.
func (d *Dispatcher) push(e *endpoint, event *outbox.Event) {
	if !e.owned || e.cursor.catchingUp {
		return
	}
	if e.queue.len() >= d.Queue || !d.pool.mayHold(e.queue.tenant, e.pacing.pace()) || !e.may().takeLive || !e.ready() {
		e.fellBehind(event.ID - 1)
		d.advance(e) // its queue may be empty: the pool may be full of events of others
		return
	}
	d.enqueue(e, event)
	d.startRequests(e)
}

func (d *Dispatcher) enqueue(e *endpoint, event *outbox.Event) {
	switch {
	case e.queue.isAhead(event.ID):
	case e.queue.isBlocked(event):
		d.deferEvent(e, event)
	default:
		e.queue.push(event)
	}
}

// advance starts what the endpoint's state allows: its handshake, a read of the event log, requests.
func (d *Dispatcher) advance(e *endpoint) {
	d.startHandshake(e)
	d.requestRead(e)
	d.startRequests(e)
}

// stretched is the interval of periodic work, as it is or as a simulation wants it.
func (d *Dispatcher) stretched(interval time.Duration) time.Duration {
	return time.Duration(d.stretch) * interval
}
