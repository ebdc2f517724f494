package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// send makes an attempt, without the mutex. Attempts are numbered from 1.
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

// finishAttempt takes the outcome of a first attempt: the delivery is done, becomes a retry, is dead, or, if it was a probe, goes
// back to the event log.
func (d *Dispatcher) finishAttempt(e *endpoint, event *outbox.Event, began time.Time, o *webhook.Outcome) {
	e.attempts--
	defer e.queue.release(event.ID)
	if o.Class == webhook.ClassCanceled {
		// The relay stops. The event stays in flight for the cursor, so the relay that reads on from there sends it again.
		return
	}
	d.recordAttempt(e, event, 1, began, o)
	e.queue.sent(event.ID)
	switch {
	case o.Class == webhook.ClassWrongTenant: // neither delivered nor reported as failed
	case o.Class.Verdict() == webhook.Delivered:
		d.Metrics.Delivered(time.Since(event.Occurred))
		d.succeeded(e)
	case o.Class.Verdict() == webhook.Retry && e.breaker.halfOpen():
		e.putBack(event)
		e.emptyQueue()
		d.failed(e, o)
	default:
		key := e.queue.key(event)
		dead := d.scheduleRetry(e, event, 1, o, key, false)
		d.block(e, key, dead)
		d.failed(e, o)
	}
}

// recordAttempt records an attempt, and what it says about the endpoint's capacity.
func (d *Dispatcher) recordAttempt(e *endpoint, event *outbox.Event, number int, began time.Time, o *webhook.Outcome) {
	d.Metrics.Attempt(string(o.Class), o.Duration)
	if o.Class.ReachedOut() {
		e.window.observe(o, began)
		e.pacing.observe(o)
	}
	d.recorder.attempt(e.id, event.ID, number, began, o)
}

// scheduleRetry records when a failed delivery is tried again, or that it is dead. again says that it is a retry already.
func (d *Dispatcher) scheduleRetry(e *endpoint, event *outbox.Event, attempts int, o *webhook.Outcome, key string, again bool) (dead bool) {
	r := outbox.Retry{
		Event: event.ID, Webhook: e.id, Attempts: attempts, Class: string(o.Class), Status: o.Status, Key: key, Claimed: again,
	}
	delay, more := e.schedule.Next(attempts, d.recorder.random())
	dead = !more || o.Class.Verdict() == webhook.Permanent
	if dead {
		d.Log.Warn("delivery given up; fix the cause, then run iam-relay deliveries retry", "webhook", e.name, "event", event.ID,
			"attempts", attempts, "class", o.Class)
		d.emitExhausted(e, event, attempts, o)
	} else {
		r.Due = time.Now().Add(max(delay, o.RetryAfter))
	}
	d.recorder.retry(r)
	return dead
}
