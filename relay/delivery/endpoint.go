package delivery

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// endpoint is one webhook as the dispatcher sees it. Everything in it is guarded by the dispatcher's mutex.
type endpoint struct {
	id     int64
	name   string
	origin string
	ownKey string // within its origin; key is that of an event
	tenant string
	// tenantKeys are the tenants that have the name which tenant is.
	tenantKeys []string
	enabled    bool
	removed    *int64
	version    int64
	resumed    int // how often its failures were forgiven on request, as far as known here
	target     *webhook.Target
	invalid    error  // why there is no target
	dropped    string // why headers are left out, as logged
	options    webhook.Options
	schedule   webhook.Schedule

	// served: this relay sends the log to it. Otherwise another relay does, or soon will; of such a webhook this one may
	// still send parked deliveries.
	served  bool
	letGo   bool // no longer, once nothing of it is on its way
	queue   []*outbox.Event
	sending map[int64]string // taken from the queue, not booked yet, with what they are ordered by
	workers int              // first attempts on their way
	retries int              // parked deliveries on their way
	waiting bool             // for a sender
	group   group            // what it shares senders with
	account string           // the tenant that what it holds of the event pool is counted for; it never changes
	// retryAfter is when its rate allows the next retry.
	retryAfter time.Time
	window     window
	limiter    limiter
	agreed     agreement
	timer      *time.Timer

	// behind: what comes after readFrom is not in the queue; the endpoint reads it from the log.
	behind   bool
	readFrom int64
	reading  bool // or waiting for its turn to read
	// own: the endpoint has a place of its own in the store instead of sharing the common mark; stored is that place.
	own    bool
	stored *int64

	health
	order
}

func (d *Dispatcher) newEndpoint(w *outbox.Webhook) *endpoint {
	e := &endpoint{
		id: w.ID, enabled: w.Enabled, resumed: w.ResumeCount, account: w.Tenant, sending: map[int64]string{},
		order: order{blocked: map[string]int{}, ahead: map[int64]struct{}{}},
	}
	d.endpoints[w.ID] = e
	d.set(e, w)
	return e
}

// set takes the webhook's definition over.
func (d *Dispatcher) set(e *endpoint, w *outbox.Webhook) {
	e.name, e.origin, e.ownKey, e.tenant, e.removed, e.version = w.Name, w.Origin, w.Key, w.Tenant, w.RemovedAfter, max(e.version, w.Version)
	e.tenantKeys = w.TenantKeys
	if e.name == "" {
		e.name = w.Origin + ":" + w.Key
	}
	if !e.enabled && w.Enabled || w.ResumeCount > e.resumed { // whoever switches it on, or resumes it, gives it a fresh start
		e.Health, e.half, e.breaker, e.resumed = outbox.Health{}, false, circuitBreaker{}, max(e.resumed, w.ResumeCount)
		d.ledger.health(e.id, e.Health)
	}
	if w.RemovedAfter == nil || w.MovedAway() { // one that is only removed goes on as it was
		e.enabled = w.Enabled
	}
	if !e.enabled {
		d.disable(e)
	} else if e.served {
		e.letGo = false
	}
	d.aim(e, w)
	e.schedule = d.Schedule
	if e.options.Schedule != nil {
		e.schedule.Delays = e.options.Schedule
	}
	e.window.limit(d.InFlight, e.options.InFlight)
	if w.Handshake != "" {
		e.agreed = agreement(w.Handshake)
	}
	e.limitRate()
}

// aim makes the target of the webhook's definition.
func (d *Dispatcher) aim(e *endpoint, w *outbox.Webhook) {
	var secrets []webhook.Secret
	for _, s := range w.ValidSecrets(d.Store.ServerTime(time.Now())) {
		secrets = append(secrets, webhook.Secret(s))
	}
	var err error
	if e.options, err = webhook.ParseOptions(w.Options); err != nil {
		e.options = webhook.Options{}
	}
	credentials, credentialsErr := webhook.ParseCredentials(w.Credentials)
	former := e.target
	e.target, e.invalid = d.Sender.Target(&webhook.Endpoint{
		ID: w.ID, Origin: w.Origin, Key: w.Key, Name: e.name, URL: w.URL, Headers: w.Headers, Secrets: secrets, Tenant: w.Tenant,
		Options: e.options, Credentials: credentials,
	})
	e.target.KeepClock(former)
	e.group = group{tenant: w.Tenant}
	if e.target != nil {
		e.group.host = e.target.Host()
	}
	if e.invalid = errors.Join(e.invalid, err, credentialsErr); e.invalid != nil {
		d.Log.Warn("webhook cannot be delivered to", "webhook", e.name, "err", e.invalid)
		return
	}
	dropped := ""
	if err := e.target.DroppedHeaders(); err != nil {
		dropped = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if dropped != "" && dropped != e.dropped {
		d.Log.Warn("headers of the webhook are not sent; remove them in the IAM", "webhook", e.name, "reason", dropped)
	}
	e.dropped = dropped
}

// open reports whether anything may be sent to it now, as far as it is itself concerned.
func (e *endpoint) open() bool {
	return e.enabled && !e.resting() && !e.halted() && e.agreed.covers(e.target)
}

// mayWork is how many first attempts may be on their way.
func (e *endpoint) mayWork() int {
	if e.half || e.options.Ordering == webhook.OrderingStrict {
		return 1
	}
	return e.window.size()
}

// unqueue takes an event out of the queue.
func (e *endpoint) unqueue(at int) *outbox.Event {
	event := e.queue[at]
	if at == 0 {
		e.queue[0] = nil
		e.queue = e.queue[1:]
		return event
	}
	e.queue = slices.Delete(e.queue, at, at+1)
	e.ahead[event.ID] = struct{}{}
	return event
}

// putBack leaves an event in the log that was taken to show whether the endpoint is back. Reading never goes on
// further than it already was to: a request from before a short rest may end while an older event is still to be read.
func (e *endpoint) putBack(event *outbox.Event) {
	e.fallBehind(min(event.ID-1, e.readUpTo()))
	delete(e.ahead, event.ID)
}

// clear takes everything out of the queue: it is read again from the log. Another endpoint gets the memory.
func (d *Dispatcher) clear(e *endpoint) {
	if len(e.queue) == 0 {
		return
	}
	e.fallBehind(min(e.queue[0].ID-1, e.readUpTo()))
	for _, event := range e.queue {
		d.pool.release(e.account, event.ID)
	}
	e.queue = nil
}

// readUpTo is the place that reading goes on from, or no limit.
func (e *endpoint) readUpTo() int64 {
	if e.behind {
		return e.readFrom
	}
	return 1<<63 - 1
}

// drop forgets what waits for an endpoint that another relay serves from now on, or nobody.
func (d *Dispatcher) drop(e *endpoint) {
	d.clear(e)
	e.served, e.letGo, e.own, e.stored = false, false, false, nil
	if e.timer != nil {
		e.timer.Stop()
	}
}

// gone reports whether nobody wants anything of the endpoint any more. One that was only removed is not: an event that was
// held when it went, or a parked one, may still be its own.
func (e *endpoint) gone() bool { return e.removed != nil && !e.enabled }

// label is what metrics call the endpoint: unique, and readable where it has a name.
func (e *endpoint) label() string { return e.name + "#" + strconv.FormatInt(e.id, 10) }

// wake looks at the endpoint again after a while.
func (d *Dispatcher) wake(e *endpoint, after time.Duration) {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(after, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.closing || !e.served {
			return
		}
		d.awake(e)
	})
}
