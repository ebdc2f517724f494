package delivery

import (
	"maps"
	"math/rand/v2"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// patience is how much failure is put up with.
type BreakerConfig struct {
	Failures        int // failures in a row
	Pause, PauseMax time.Duration
	DisableAfter    time.Duration // 0: never
	DisableSpread   time.Duration
}

// spans is in how many parts of disableSpread an endpoint must have failed to be disabled.
const spans = 12

// health is how an endpoint fares. An endpoint that fails again and again rests: nothing is sent to it, and what it gets
// meanwhile stays in the log. Then it is half open: one request, with the oldest event that it has not got, shows whether it
// is back.
type health struct {
	outbox.Health
	breaker circuitBreaker
	half    bool
	told    bool // that it is failing, so that its recovery is worth telling
	probing bool // the probe is being looked for
	// probePending: it waits for a sender for the probe.
	probePending bool
	// What its last attempts say of the next one: see pace.
	proven, sluggish bool
	lingering        int // requests that have been on their way for long
}

// pace says how long a sender will probably be occupied.
func (h *health) pace() pace {
	switch {
	case h.sluggish || h.lingering > 0:
		return slow
	case h.proven:
		return proven
	}
	return unknown
}

// judge takes an attempt's outcome into the endpoint's pace.
func (h *health) judge(o webhook.Outcome) {
	h.sluggish = o.Class == webhook.ClassTimeout || o.Duration >= slowAfter
	h.proven = o.Class.Verdict() == webhook.Delivered && !h.sluggish
}

// restore takes over what the previous relay knew. It lets nothing through that blocked holds up.
func (d *Dispatcher) restore(e *endpoint, w *outbox.Webhook, blocked map[string]int) {
	e.health = health{Health: d.Store.LocalHealth(w.Health), told: w.Pauses > 0, sluggish: w.Pauses > 0 || !w.FailingSince.IsZero(), lingering: e.lingering, probePending: false}
	e.order = order{blocked: map[string]int{}, ahead: map[int64]struct{}{}}
	maps.Copy(e.blocked, blocked)
	if e.resting() {
		d.wake(e, time.Until(e.PausedUntil))
	} else if e.Pauses > 0 || !e.agreed.covers(e.target) {
		d.probe(e)
	}
}

func (e *endpoint) resting() bool { return e.probing || time.Now().Before(e.PausedUntil) }

// succeeded: the endpoint works.
func (d *Dispatcher) succeeded(e *endpoint) {
	e.breaker.succeeded()
	if e.half {
		e.half = false
		e.window.narrow()
	}
	if e.FailingSince.IsZero() && e.Pauses == 0 {
		return
	}
	if e.told {
		d.notify(e, EndpointRecovered, nil, map[string]any{"failing_since": e.FailingSince.UTC()})
		d.Log.Info("webhook has recovered", "webhook", e.name, "failing_since", e.FailingSince)
	}
	stored := e.Pauses > 0 || e.FailingSpans > 1
	e.told, e.Health = false, outbox.Health{}
	if stored {
		d.ledger.health(e.id, e.Health)
	}
}

// failed: the endpoint did not take an event. An attempt that never reached out changes nothing: a half-open endpoint goes on
// with its next event.
func (d *Dispatcher) failed(e *endpoint, o webhook.Outcome) {
	if !o.Class.ReachedOut() {
		return
	}
	now := time.Now()
	trip := e.breaker.failed(o.Class, d.Breaker.Failures)
	if e.FailingSince.IsZero() {
		e.FailingSince = now
	}
	if e.FailedAt.IsZero() || now.Sub(e.FailedAt) >= d.Breaker.DisableSpread/spans {
		e.FailingSpans++
		e.FailedAt = now
		if e.FailingSpans > 1 { // a single hiccup is not worth a write
			d.ledger.health(e.id, e.Health)
		}
	}
	switch {
	case o.Class == webhook.ClassHTTP410:
		d.giveUp(e, "the endpoint answered 410 Gone")
	case d.hopeless(e, now):
		d.giveUp(e, "nothing but failures since "+e.FailingSince.UTC().Format(time.RFC3339)+", the last one: "+string(o.Class))
	case o.RetryAfter > 0:
		e.half = false // another probe follows the rest
		d.rest(e, o.RetryAfter)
	case e.options.Ordering == webhook.OrderingStrict:
		e.half = false // its one parked delivery has a schedule, and nothing else is sent
	case e.half || trip && !e.resting():
		d.breakOff(e, o)
	}
}

func (d *Dispatcher) hopeless(e *endpoint, now time.Time) bool {
	return d.Breaker.DisableAfter > 0 && now.Sub(e.FailingSince) >= d.Breaker.DisableAfter && e.FailingSpans >= spans
}

// breakOff lets the endpoint rest, each time for twice as long.
func (d *Dispatcher) breakOff(e *endpoint, o webhook.Outcome) {
	pause := min(d.Breaker.Pause<<min(e.Pauses, 20), d.Breaker.PauseMax)
	pause += time.Duration(float64(pause) * 0.2 * (2*rand.Float64() - 1))
	e.Pauses++
	e.half = false
	d.rest(e, pause)
	d.Log.Warn("webhook rests: it fails again and again", "webhook", e.name, "class", o.Class, "for", pause.Round(time.Millisecond).String())
	if !e.told {
		e.told = true
		d.notify(e, EndpointFailing, nil, map[string]any{"failing_since": e.FailingSince.UTC(), "class": o.Class, "status": o.Status})
	}
}

// rest sends nothing for a while. What waits goes back to the log.
func (d *Dispatcher) rest(e *endpoint, pause time.Duration) {
	until := time.Now().Add(pause)
	if until.Before(e.PausedUntil) {
		return
	}
	e.PausedUntil = until
	d.ledger.health(e.id, e.Health)
	if !e.served {
		return // whoever serves it is told by the store
	}
	d.clear(e)
	if !e.behind {
		e.fallBehind(d.head)
	}
	d.wake(e, pause)
}

// awake goes on with an endpoint whose time has come.
func (d *Dispatcher) awake(e *endpoint) {
	switch {
	case e.resting():
		d.wake(e, max(time.Until(e.PausedUntil), time.Millisecond))
	case e.Pauses > 0 && !e.half:
		d.probe(e)
	default:
		if !e.PausedUntil.IsZero() && e.Pauses == 0 {
			e.PausedUntil = time.Time{}
			d.ledger.health(e.id, e.Health)
		}
		d.advance(e)
	}
}

// probe asks the endpoint whether it agrees, if it has to be asked. If it was resting, it then sends the oldest event that the
// endpoint has not got: a parked one, or else the next of the log.
func (d *Dispatcher) probe(e *endpoint) {
	if e.probing || d.closing || !e.enabled {
		return
	}
	e.probing, e.probePending = true, true
	d.pump(e)
}

// runProbe does what probe asked for, once there is a sender for it.
func (d *Dispatcher) runProbe(e *endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	agreed := d.shake(e)
	if agreed && e.Pauses > 0 && e.options.Ordering == webhook.OrderingStrict { // it rested only until it agreed
		e.Pauses, e.PausedUntil = 0, time.Time{}
		d.ledger.health(e.id, e.Health)
	}
	if !agreed || e.Pauses == 0 {
		e.probing = false
		d.advance(e)
		return
	}
	d.mu.Unlock()
	due, err := d.claimOldest(e.id)
	d.mu.Lock()
	e.probing = false
	switch {
	case err != nil:
		d.ledger.fail(err)
	case d.closing: // the lease ends with the member
	case !e.served || !e.enabled:
		if due != nil { // for when it is enabled again, or for the relay that serves it
			d.ledger.unlease(due.Webhook, due.ID)
		}
	case due == nil:
		e.half = true
		d.advance(e)
	default:
		e.half = true
		d.probeWith(e, due)
	}
}

// claimOldest leases the oldest parked delivery of a webhook. It waits for one of the connections that reads may use.
func (d *Dispatcher) claimOldest(id int64) (*outbox.DueRetry, error) {
	d.reads.slots <- struct{}{}
	defer func() { <-d.reads.slots }()
	return d.Member.ClaimOldest(d.sendCtx, id)
}

// giveUp stops delivering until somebody enables the webhook again. It goes on collecting events.
func (d *Dispatcher) giveUp(e *endpoint, reason string) {
	if !e.enabled {
		return
	}
	d.disable(e)
	d.ledger.disable(e.id, outbox.Disabling{Reason: reason, Version: e.version})
	d.Log.Warn("webhook disabled", "webhook", e.name, "reason", reason)
	d.notify(e, EndpointDisabled, nil, map[string]any{"reason": reason, "failing_since": e.FailingSince.UTC()})
}

// disable leaves the endpoint's events in the log: it reads on from there should it be enabled again.
func (d *Dispatcher) disable(e *endpoint) {
	e.enabled = false
	if !e.served {
		return
	}
	d.clear(e)
	if !e.behind {
		e.fallBehind(d.head)
	}
	e.letGo = true
}
