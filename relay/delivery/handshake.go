package delivery

import (
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// handshake is what an endpoint has accepted, if its webhook asks for a validation handshake: the target's HandshakeID and, after a space,
// how many requests per minute it allows. It does not cover another URL.
type handshake string

func acceptedHandshake(t *webhook.Target, o *webhook.Outcome) handshake {
	if o.AllowedRate > 0 {
		return handshake(t.HandshakeID() + " " + strconv.Itoa(o.AllowedRate))
	}
	return handshake(t.HandshakeID())
}

// covers reports whether the target needs no handshake, or no other one.
func (h handshake) covers(t *webhook.Target) bool {
	if t == nil {
		return true // Dispatcher.send reports the invalid definition
	}
	id, _, _ := strings.Cut(string(h), " ")
	return t.HandshakeID() == "" || t.HandshakeID() == id
}

// rate is how many requests per second are allowed, 0 for no limit.
func (h handshake) rate() float64 {
	_, text, _ := strings.Cut(string(h), " ")
	perMinute, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return float64(perMinute) / 60
}

// limitRate sets the lower of the webhook's own limit and the one that the endpoint allows.
func (e *endpoint) limitRate() {
	rate := e.options.Rate
	if allowed := e.handshake.rate(); e.options.Handshake && allowed > 0 && (rate == 0 || allowed < rate) {
		rate = allowed
	}
	e.limiter.set(rate)
}

// startHandshake asks for a handshake if the endpoint needs one. It is made like a probe.
func (d *Dispatcher) startHandshake(e *endpoint) {
	if !e.breaker.open() && !e.handshake.covers(e.target) {
		d.probe(e)
	}
}

// makeHandshake makes the handshake if the endpoint needs one, and reports whether requests may be sent. The mutex is held at the call and at
// the return, but not meanwhile.
func (d *Dispatcher) makeHandshake(e *endpoint) (accepted bool) {
	target := e.target
	if e.handshake.covers(target) {
		return true
	}
	d.mu.Unlock()
	o := d.Sender.Handshake(d.sendCtx, target)
	d.mu.Lock()
	switch {
	case o.Class == webhook.ClassCanceled, target != e.target:
		return false // the relay stops, or the webhook has changed, which starts another handshake
	case o.Class.Verdict() != webhook.Delivered:
		d.Metrics.Attempt(string(o.Class), o.Duration)
		d.handshakeRefused(e, &o)
		return false
	}
	e.handshake = acceptedHandshake(target, &o)
	e.limitRate()
	d.recorder.handshake(e.id, string(e.handshake))
	d.Log.Info("webhook validation handshake accepted", "webhook", e.name)
	return true
}

// handshakeRefused pauses the endpoint. It uses no attempt: the events wait.
func (d *Dispatcher) handshakeRefused(e *endpoint, o *webhook.Outcome) {
	if e.breaker.FailingSince.IsZero() {
		e.breaker.FailingSince = time.Now()
	}
	d.trip(e, o)
}

// postponeRetry makes a retry due again after a pause, because its endpoint has not accepted the handshake.
func (d *Dispatcher) postponeRetry(e *endpoint, due *outbox.DueRetry) {
	d.recorder.retry(outbox.Retry{
		Event: due.ID, Webhook: e.id, Attempts: due.Attempts, Due: time.Now().Add(d.Breaker.Pause),
		Class: string(webhook.ClassHandshakeRefused), Claimed: true,
	})
}
