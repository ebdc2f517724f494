package delivery

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// dispatcher delivers the log to the webhooks. After each ingest commit the leader's hands the events from memory to the
// queues of their endpoints (live). An endpoint whose queue is full, or that rests, reads the log by itself (behind), at
// whichever relay has leased it, until it has caught up. A delivery that fails on a working endpoint is parked and retried
// on its schedule. No endpoint waits for another, and ingest for none.
type Dispatcher struct {
	Config

	mu             sync.Mutex
	leader         Leader // nil while another relay leads
	endpoints      map[int64]*endpoint
	head           int64 // the newest event of the log, as far as is known here
	delivered      int64 // stored, by the leader: all but the endpoints with a cursor are done up to here
	pool           *eventPool
	scheduler      *scheduler // of first attempts and probes
	retryScheduler *scheduler // of further attempts
	reads          logReads
	ledger         ledger
	stretch        time.Duration // of the intervals of periodic work: 1, but for a simulation of years
	closing        bool
	settled        bool    // the drain has given cursors out
	forgotten      []int64 // for ingest
	// sendCtx ends what is being sent when the drain takes too long.
	sendCtx       context.Context
	cancelSending context.CancelFunc
	workers       sync.WaitGroup
}

// deliveryConfig is what delivery works with.
type Config struct {
	Member   Member
	Store    Store
	Sender   Sender
	Schedule webhook.Schedule
	InFlight int // per endpoint
	Queue    int // events per endpoint
	Senders  int // of concurrent first attempts, to all endpoints together
	Breaker  BreakerConfig
	Metrics  *admin.Metrics
	Clock    ClockObserver // of the outbox's server
	// rootEvents are those that root tenants hear of other tenants.
	RootEvents map[string]bool
	Log        *slog.Logger
}

// clockObserver takes readings of another server's clock: by how much it is ahead of this machine's, and by how much that may be wrong.
type ClockObserver interface {
	Observe(ahead, took time.Duration)
}

func New(c Config) *Dispatcher {
	ctx, cancel := context.WithCancel(context.Background())
	d := &Dispatcher{
		Config: c, endpoints: map[int64]*endpoint{}, sendCtx: ctx, cancelSending: cancel, stretch: 1,
		pool: newEventPool(poolBytes), scheduler: newScheduler(c.Senders), retryScheduler: newScheduler(retrySlots), reads: newLogReads(),
	}
	d.ledger.init()
	return d
}

// lead takes the leader's part over: from now on this relay serves all webhooks but those that read the log by themselves at
// another one.
func (d *Dispatcher) Lead(leader Leader, p outbox.Position, webhooks []outbox.Webhook, blocked map[int64]map[string]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leader, d.head, d.delivered = leader, p.LastEvent, p.Delivered
	for i := range webhooks {
		w := &webhooks[i]
		e := d.endpoints[w.ID]
		if e == nil {
			e = d.newEndpoint(w)
		}
		if w.Cursor != nil || e.served {
			continue // claimed when nobody else serves it
		}
		// Where nobody knows what the previous leader had sent from memory, the log is read again: same events, same ids.
		e.served, e.readFrom, e.behind, e.own = true, p.Delivered, p.Delivered < p.LastEvent, p.Delivered < p.LastEvent
		d.restore(e, w, blocked[w.ID])
	}
	for _, e := range d.endpoints {
		d.advance(e)
	}
}

// update takes new, changed and removed webhooks over.
func (d *Dispatcher) Update(webhooks []outbox.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		w := &webhooks[i]
		e := d.endpoints[w.ID]
		if e == nil {
			if d.leader == nil {
				continue // not one that this relay has to do with
			}
			e = d.newEndpoint(w)
			e.readFrom, e.served = d.head, w.Cursor == nil
			continue
		}
		d.set(e, w)
		d.advance(e)
	}
}

// forget drops removed webhooks that have nothing left to deliver.
func (d *Dispatcher) Forget(webhooks []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, id := range webhooks {
		if e := d.endpoints[id]; e != nil {
			d.drop(e)
			delete(d.endpoints, id)
		}
	}
	d.forgotten = append(d.forgotten, webhooks...)
}

// takeForgotten returns what was forgotten since it was called before.
func (d *Dispatcher) TakeForgotten() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	ids := d.forgotten
	d.forgotten = nil
	return ids
}

// dispatch hands freshly committed events to their endpoints.
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

// skip moves the head past events that were not kept in memory: their endpoints read them from the log.
func (d *Dispatcher) Skip(head int64, webhooks map[int64]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from := d.head
	d.head = head
	for id := range webhooks {
		if e := d.endpoints[id]; e != nil && e.served && !e.behind {
			e.fallBehind(from)
			d.advance(e)
		}
	}
}

func (d *Dispatcher) push(e *endpoint, event *outbox.Event) {
	if !e.served || e.behind {
		return
	}
	if len(e.queue) >= d.Queue || !d.pool.mayHold(e.account, e.pace()) || !e.open() {
		e.fallBehind(event.ID - 1)
		d.advance(e) // nothing of its own may be waiting: the memory is full of others' events
		return
	}
	d.enqueue(e, event)
	d.pump(e)
}

func (d *Dispatcher) enqueue(e *endpoint, event *outbox.Event) {
	if e.sentAhead(event.ID) {
		return
	}
	if key := e.key(event); e.blocked[key] > 0 && e.options.Ordering == webhook.OrderingResource {
		d.parkBehind(e, event, key)
		return
	}
	e.queue = append(e.queue, d.pool.hold(e.account, event))
}

// advance does what there is to do for an endpoint: read on in its log, send what waits.
func (d *Dispatcher) advance(e *endpoint) {
	d.greet(e)
	d.refill(e)
	d.pump(e)
}

func (d *Dispatcher) send(e *endpoint, event *outbox.Event, attempt int) webhook.Outcome {
	d.mu.Lock()
	if o, refused := d.refuse(e, event); refused {
		d.mu.Unlock()
		return o
	}
	target, err, left := e.target, e.invalid, max(e.schedule.Attempts()-attempt, 0)
	d.mu.Unlock()
	if err != nil {
		return webhook.Invalid(err)
	}
	return d.Sender.Send(d.sendCtx, target, &webhook.Message{
		ID: event.WebhookID, Event: event.Name, Tenant: event.Tenant, Resource: event.Resource, Body: event.Body, BodyLength: event.Length,
		Occurred: event.Occurred, Reconciled: event.Reconciled, Attempt: attempt, AttemptsLeft: left, Time: d.Store.ServerTime(time.Now()),
	})
}

// finish books a first attempt: done, parked for its next one, dead, or, if it only was to show whether the endpoint is
// back, undone.
func (d *Dispatcher) finish(e *endpoint, event *outbox.Event, began time.Time, o webhook.Outcome) {
	e.workers--
	defer d.pool.release(e.account, event.ID)
	if o.Class == webhook.ClassCanceled {
		// The relay itself stopped. The event stays undone: it is sent again by whoever reads the log next.
		return
	}
	d.book(e, event, 1, began, o)
	probe := e.half
	delete(e.sending, event.ID)
	if o.Class == webhook.ClassWrongTenant {
		return // nothing that its tenant could be told
	}
	if o.Class.Verdict() == webhook.Delivered {
		d.Metrics.Delivered(time.Since(event.Occurred))
		d.succeeded(e)
		return
	}
	if probe && o.Class.Verdict() == webhook.Retry {
		e.putBack(event)
		d.clear(e)
	} else {
		d.park(e, event, 1, o, e.key(event), false)
	}
	d.failed(e, o)
}

// book records an attempt, and what it says about how much the endpoint can take.
func (d *Dispatcher) book(e *endpoint, event *outbox.Event, number int, began time.Time, o webhook.Outcome) {
	d.Metrics.Attempt(string(o.Class), o.Duration)
	if o.Class.ReachedOut() {
		e.window.answered(o, began)
		e.judge(o)
	}
	d.ledger.attempt(e.id, event.ID, number, began, o)
}

// park keeps a failed delivery for its next attempt, or as a dead one.
func (d *Dispatcher) park(e *endpoint, event *outbox.Event, attempts int, o webhook.Outcome, key string, again bool) {
	p := outbox.Retry{
		Event: event.ID, Webhook: e.id, Attempts: attempts, Class: string(o.Class), Status: o.Status, Key: key, Claimed: again,
	}
	delay, more := e.schedule.Next(attempts, d.ledger.random())
	dead := !more || o.Class.Verdict() == webhook.Permanent
	if !dead {
		p.Due = time.Now().Add(max(delay, o.RetryAfter))
	} else {
		d.Log.Warn("delivery given up", "webhook", e.name, "event", event.ID, "attempts", attempts, "class", o.Class)
		d.exhausted(e, event, attempts, o)
	}
	d.ledger.park(p)
	d.hold(e, p.Key, dead, again)
}
