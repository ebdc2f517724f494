package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// dispatcher delivers the log to the webhooks. After each ingest commit the events go from memory to the queues of their
// endpoints (live). An endpoint whose queue is full reads the log by itself (behind) until it has caught up. A delivery that
// fails on a working endpoint is parked and retried on its schedule. No endpoint waits for another, and ingest for none.
type dispatcher struct {
	deliveryConfig

	mu        sync.Mutex
	endpoints map[int64]*endpoint
	head      int64 // the newest event of the log
	delivered int64 // stored: all but the endpoints with a cursor are done up to here
	bytes     int   // of bodies in queues
	ledger    ledger
	closing   bool
	sendCtx   context.Context // outlives the term by the drain time
	workers   sync.WaitGroup
}

// deliveryConfig is what delivery works with.
type deliveryConfig struct {
	leader   *outbox.Leader
	store    *outbox.Store
	sender   *webhook.Sender
	schedule webhook.Schedule
	inFlight int // per endpoint
	queue    int // events per endpoint
	metrics  *admin.Metrics
	log      *slog.Logger
}

// queueBytes bounds the bodies waiting in all queues together. Beyond it endpoints read the log instead.
const queueBytes = 8 << 20

func newDispatcher(ctx context.Context, c deliveryConfig, p outbox.Position, webhooks []outbox.Webhook) *dispatcher {
	d := &dispatcher{deliveryConfig: c, endpoints: map[int64]*endpoint{}, head: p.LastEvent, delivered: p.Delivered, sendCtx: ctx}
	d.ledger.init()
	for i := range webhooks {
		e := d.newEndpoint(&webhooks[i])
		// Where nobody knows what the previous relay had sent from memory, the log is read again: same events, same ids.
		e.readFrom, e.behind, e.own = p.Delivered, p.Delivered < p.LastEvent, p.Delivered < p.LastEvent
		if w := &webhooks[i]; w.Cursor != nil {
			e.readFrom, e.behind, e.own, e.stored = *w.Cursor, true, true, w.Cursor
		}
	}
	return d
}

// start begins reading for the endpoints that are behind.
func (d *dispatcher) start() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.endpoints {
		d.refill(e)
	}
}

// update takes new, changed and removed webhooks over.
func (d *dispatcher) update(webhooks []outbox.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		w := &webhooks[i]
		e := d.endpoints[w.ID]
		if e == nil {
			e = d.newEndpoint(w)
			e.readFrom = d.head
			continue
		}
		d.set(e, w)
		d.refill(e)
	}
}

// forget drops removed webhooks that have nothing left to deliver.
func (d *dispatcher) forget(webhooks []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range webhooks {
		delete(d.endpoints, id)
	}
}

// dispatch hands freshly committed events to their endpoints.
func (d *dispatcher) dispatch(events []outbox.Event) {
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

// skip moves the head past events that were not kept in memory: their endpoints read them from the log.
func (d *dispatcher) skip(head int64, webhooks map[int64]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.head
	d.head = head
	for id := range webhooks {
		if e := d.endpoints[id]; e != nil && !e.behind {
			e.fallBehind(from)
			d.refill(e)
		}
	}
}

func (d *dispatcher) push(e *endpoint, event *outbox.Event) {
	if e.behind {
		return
	}
	if len(e.queue) >= d.queue || d.bytes > queueBytes || !e.enabled {
		e.fallBehind(event.ID - 1)
		d.refill(e) // nothing of its own may be waiting: the memory is full of others' events
		return
	}
	d.enqueue(e, event)
}

func (d *dispatcher) enqueue(e *endpoint, event *outbox.Event) {
	e.queue = append(e.queue, event)
	d.bytes += len(event.Body)
	d.hire(e)
}

// hire starts one more worker, if the endpoint may have one and there is something to do.
func (d *dispatcher) hire(e *endpoint) {
	if len(e.queue) > 0 && e.workers < e.mayWork(d.inFlight) && e.enabled && !d.closing {
		e.workers++
		d.workers.Go(func() { d.work(e) })
	}
}

// work sends an endpoint's events, one at a time, until its queue is empty.
func (d *dispatcher) work(e *endpoint) {
	for {
		event := d.next(e)
		if event == nil {
			return
		}
		began := time.Now()
		outcome := d.send(e, event, 1)
		d.finish(e, event, 1, began, outcome)
	}
}

// next takes the oldest waiting event, or ends the worker.
func (d *dispatcher) next(e *endpoint) *outbox.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(e.queue) == 0 || d.closing || !e.enabled || e.workers > e.mayWork(d.inFlight) {
		e.workers--
		return nil
	}
	event := e.queue[0]
	e.queue[0] = nil
	e.queue = e.queue[1:]
	d.bytes -= len(event.Body)
	e.sending[event.ID] = struct{}{}
	d.hire(e)
	d.refill(e)
	return event
}

func (d *dispatcher) send(e *endpoint, event *outbox.Event, attempt int) webhook.Outcome {
	d.mu.Lock()
	target, err := e.target, e.invalid
	d.mu.Unlock()
	if err != nil {
		return webhook.Invalid(err)
	}
	return d.sender.Send(d.sendCtx, target, &webhook.Message{
		ID: event.WebhookID, Event: event.Name, Tenant: event.Tenant, Body: event.Body, Occurred: event.Occurred,
		Attempt: attempt, Left: max(d.schedule.Attempts()-attempt, 0),
	})
}

// finish books an attempt: done, parked for its next one, or dead.
func (d *dispatcher) finish(e *endpoint, event *outbox.Event, number int, began time.Time, o webhook.Outcome) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.Class == webhook.ClassCanceled {
		// The relay itself stopped. The event stays undone: it is sent again by whoever reads the log next.
		return
	}
	d.metrics.Attempt(string(o.Class), o.Duration)
	e.answered(o.Duration)
	d.ledger.attempt(e.id, event.ID, number, began, o)
	switch o.Class.Verdict() {
	case webhook.Delivered:
		d.metrics.Delivered(time.Since(event.Occurred))
		if number > 1 {
			d.ledger.unpark(e.id, event.ID)
		}
	default:
		d.park(e, event.ID, number, o)
	}
	delete(e.sending, event.ID)
	if o.Class == webhook.ClassHTTP410 {
		d.disable(e)
		d.ledger.disable(e.id, "the endpoint answered 410 Gone")
		d.log.Warn("webhook disabled", "webhook", e.name, "reason", "410 Gone")
	}
}

func (d *dispatcher) park(e *endpoint, event int64, attempts int, o webhook.Outcome) {
	p := outbox.Parked{Event: event, Webhook: e.id, Attempts: attempts, Class: string(o.Class), Status: o.Status}
	delay, again := d.schedule.Next(attempts, d.ledger.random())
	if again && o.Class.Verdict() == webhook.Retry {
		p.Due = time.Now().Add(max(delay, o.RetryAfter))
	} else {
		d.log.Warn("delivery given up", "webhook", e.name, "event", event, "attempts", attempts, "class", o.Class)
	}
	d.ledger.park(p)
}

// close stops sending: what is in flight may end until sendCtx is cancelled, what waits is left in the log.
func (d *dispatcher) close() {
	d.mu.Lock()
	d.closing = true
	d.mu.Unlock()
	d.workers.Wait()
}
