package delivery

import (
	"math/rand/v2"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// restore takes over what is stored of an endpoint that this relay delivers to from now on. blocked are its blocked order keys.
func (d *Dispatcher) restore(e *endpoint, w *outbox.Webhook, blocked map[string]int) {
	e.queue.restore(blocked)
	now := time.Now()
	e.restored(d.Store.LocalHealth(w.Health), now)
	if pause := e.breaker.remaining(now); pause > 0 {
		d.wakeAfter(e, pause)
	} else if e.breaker.tripped() || !e.handshake.covers(e.target) {
		d.probe(e)
	}
}

// succeeded notes that the endpoint works.
func (d *Dispatcher) succeeded(e *endpoint) {
	r := e.recovered()
	if r.halfOpen {
		e.window.reset()
	}
	if r.notify {
		d.emit(e, EndpointRecovered, nil, map[string]any{"failing_since": r.since.UTC()})
		d.Log.Info("endpoint has recovered", "webhook", e.name, "failing_since", r.since)
	}
	if r.changed {
		d.recorder.health(e.id, e.breaker.Health)
	}
}

// failed notes that the endpoint did not accept an event.
func (d *Dispatcher) failed(e *endpoint, o *webhook.Outcome) {
	reaction, changed := e.breaker.failed(o, &d.Breaker, e.options.Ordering == webhook.OrderingStrict, time.Now())
	if changed {
		d.recorder.health(e.id, e.breaker.Health)
	}
	switch reaction {
	case reactDisableNow:
		d.disable(e, "the endpoint answered 410 Gone")
	case reactDisable:
		d.disable(e, "every attempt has failed since "+e.breaker.FailingSince.UTC().Format(time.RFC3339)+", most recently with "+string(o.Class))
	case reactPause:
		d.pause(e, o.RetryAfter)
	case reactTrip:
		d.trip(e, o)
	case reactNot:
	}
}

// trip pauses the endpoint, each time for twice as long.
func (d *Dispatcher) trip(e *endpoint, o *webhook.Outcome) {
	pause := e.breaker.trip(&d.Breaker, rand.Float64())
	d.pause(e, pause)
	d.Log.Warn("endpoint paused after repeated failures; fix the receiver: it is probed after the pause", "webhook", e.name, "class", o.Class,
		"pause", pause.Round(time.Millisecond).String())
	if !e.breaker.notified {
		e.breaker.notified = true
		d.emit(e, EndpointFailing, nil, map[string]any{"failing_since": e.breaker.FailingSince.UTC(), "class": o.Class, "status": o.Status})
	}
}

// pause sends nothing for a while. A relay that delivers to the endpoint in this one's place reads the pause from the outbox.
func (d *Dispatcher) pause(e *endpoint, pause time.Duration) {
	if !e.paused(time.Now().Add(pause), d.head) {
		return
	}
	d.recorder.health(e.id, e.breaker.Health)
	if e.owned {
		d.wakeAfter(e, pause)
	}
}

// disable stops delivering until the webhook is enabled again. Its events stay in the event log.
func (d *Dispatcher) disable(e *endpoint, reason string) {
	if !e.enabled {
		return
	}
	e.disabled(d.head)
	d.recorder.disable(e.id, outbox.Disabling{Reason: reason, Version: e.version})
	d.Log.Warn("webhook disabled; fix the receiver, then run iam-relay webhooks enable", "webhook", e.name, "reason", reason)
	d.emit(e, EndpointDisabled, nil, map[string]any{"reason": reason, "failing_since": e.breaker.FailingSince.UTC()})
}

// wakeAfter calls wakeUp after a while. The endpoint has one timer: a later call replaces an earlier one.
func (d *Dispatcher) wakeAfter(e *endpoint, after time.Duration) {
	e.stopTimer()
	e.timer = time.AfterFunc(after, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.closing && e.owned {
			d.wakeUp(e)
		}
	})
}

// wakeUp continues with an endpoint whose pause has ended or whose rate limit allows another request.
func (d *Dispatcher) wakeUp(e *endpoint) {
	remaining := e.breaker.remaining(time.Now())
	switch {
	case remaining > 0 || e.breaker.probing:
		d.wakeAfter(e, max(remaining, time.Millisecond))
	case e.breaker.tripped() && !e.breaker.halfOpen():
		d.probe(e)
	default:
		if e.pauseEnded() {
			d.recorder.health(e.id, e.breaker.Health)
		}
		d.advance(e)
	}
}
