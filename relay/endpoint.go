package relay

import (
	"errors"
	"strconv"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// endpoint is one webhook as the dispatcher sees it. Everything in it is guarded by the dispatcher's mutex.
type endpoint struct {
	id      int64
	name    string
	enabled bool
	removed *int64
	target  *webhook.Target
	invalid error // why there is no target

	queue   []*outbox.Event
	sending map[int64]struct{} // taken from the queue, not booked yet
	workers int
	retries int // parked deliveries being sent
	// answers is how long the endpoint takes to answer, smoothed.
	answers time.Duration

	// behind: what comes after readFrom is not in the queue; the endpoint reads it from the log.
	behind   bool
	readFrom int64
	reading  bool
	// own: the endpoint has a place of its own in the store instead of sharing the common mark; stored is that place.
	own    bool
	stored *int64
}

func (d *dispatcher) newEndpoint(w *outbox.Webhook) *endpoint {
	e := &endpoint{id: w.ID, sending: map[int64]struct{}{}}
	d.endpoints[w.ID] = e
	d.set(e, w)
	return e
}

// set takes the webhook's definition over.
func (d *dispatcher) set(e *endpoint, w *outbox.Webhook) {
	e.name, e.removed = w.Name, w.RemovedAfter
	if e.name == "" {
		e.name = w.Origin + ":" + w.Key
	}
	if e.enabled = w.Enabled; !e.enabled {
		d.disable(e)
	}
	secrets := make([]webhook.Secret, len(w.Secrets))
	for i, s := range w.Secrets {
		secrets[i] = webhook.Secret(s)
	}
	options, err := webhook.ParseOptions(w.Options)
	credentials, credentialsErr := webhook.ParseCredentials(w.Credentials)
	e.target, e.invalid = d.sender.Target(&webhook.Endpoint{
		ID: w.ID, Origin: w.Origin, Key: w.Key, Name: e.name, URL: w.URL, Headers: w.Headers, Secrets: secrets, Tenant: w.Tenant,
		Options: options, Credentials: credentials,
	})
	e.invalid = errors.Join(e.invalid, err, credentialsErr)
	if e.invalid != nil {
		d.log.Warn("webhook cannot be delivered to", "webhook", e.name, "err", e.invalid)
	}
}

// disable leaves the endpoint's events in the log: it reads on from there should it be enabled again.
func (d *dispatcher) disable(e *endpoint) {
	e.enabled = false
	switch {
	case len(e.queue) > 0:
		e.fallBehind(e.queue[0].ID - 1)
	case !e.behind:
		e.fallBehind(d.head)
	}
	for _, event := range e.queue {
		d.bytes -= len(event.Body)
	}
	e.queue = nil
}

// fallBehind: from the event after the given one on, the endpoint reads the log.
func (e *endpoint) fallBehind(after int64) {
	e.behind, e.own, e.readFrom = true, true, after
}

// done is the event up to which the endpoint has nothing left to do but parked deliveries.
func (e *endpoint) done(head int64) int64 {
	place := head
	if e.behind {
		place = e.readFrom
	}
	if len(e.queue) > 0 {
		place = min(place, e.queue[0].ID-1)
	}
	for id := range e.sending {
		place = min(place, id-1)
	}
	return place
}

const (
	// An endpoint that answers at once is served fastest over few connections: more of them only take turns on the
	// processor. One that takes its time gets more, one for each stepAnswer of it.
	baseWorkers = 8
	stepAnswer  = 250 * time.Microsecond
)

// mayWork is how many requests the endpoint may have in flight.
func (e *endpoint) mayWork(limit int) int { return min(limit, baseWorkers+int(e.answers/stepAnswer)) }

// answered takes the time of one attempt into account.
func (e *endpoint) answered(took time.Duration) { e.answers += (took - e.answers) / 8 }

// gone reports whether nobody wants anything of the endpoint any more. One that was only removed is not: an event that was
// held when it went, or a parked one, may still be its own.
func (e *endpoint) gone() bool { return e.removed != nil && !e.enabled }

// label is what metrics call the endpoint: unique, and readable where it has a name.
func (e *endpoint) label() string { return e.name + "#" + strconv.FormatInt(e.id, 10) }

// readSlice is how many events an endpoint that is behind takes from the log at a time.
const readSlice = 250

// refill reads on in the log for an endpoint that is behind, as its queue runs low. Called with the mutex held; the reading
// itself is done without it.
func (d *dispatcher) refill(e *endpoint) {
	if !e.behind || e.reading || !e.enabled || d.closing || len(e.queue) > readSlice/2 || (d.bytes > queueBytes && len(e.queue) > 0) {
		return
	}
	if e.readFrom >= d.head {
		e.behind = false // caught up: what comes next is pushed
		return
	}
	e.reading = true
	d.workers.Go(func() { d.readLog(e) })
}

func (d *dispatcher) readLog(e *endpoint) {
	for {
		d.mu.Lock()
		if d.closing || !e.behind || !e.enabled || len(e.queue) > readSlice/2 || e.readFrom >= d.head {
			e.behind = e.behind && e.readFrom < d.head
			e.reading = false
			d.mu.Unlock()
			return
		}
		from, head := e.readFrom, d.head
		d.mu.Unlock()
		events, through, err := d.store.ReadEvents(d.sendCtx, e.id, from, head, readSlice)
		d.mu.Lock()
		if err != nil {
			e.reading = false
			d.ledger.fail(err)
			d.mu.Unlock()
			return
		}
		if e.enabled && e.readFrom == from { // else it was disabled meanwhile, and may go on from another place
			for i := range events {
				d.enqueue(e, &events[i])
			}
			e.readFrom = through
		}
		d.mu.Unlock()
	}
}
