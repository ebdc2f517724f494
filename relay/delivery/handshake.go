package delivery

import (
	"strconv"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// agreement is what an endpoint has agreed to, where its webhook asks for a handshake first: the target's HandshakeID and,
// behind a blank, how many requests a minute it allows. It is void once the URL is another one.
type agreement string

func agreementOf(t *webhook.Target, o webhook.Outcome) agreement {
	if o.AllowedRate > 0 {
		return agreement(t.HandshakeID() + " " + strconv.Itoa(o.AllowedRate))
	}
	return agreement(t.HandshakeID())
}

// covers reports whether nothing, or nothing more, has to be asked of the target.
func (a agreement) covers(t *webhook.Target) bool {
	if t == nil {
		return true // it is told apart elsewhere that nothing can be sent there
	}
	id, _, _ := strings.Cut(string(a), " ")
	return t.HandshakeID() == "" || t.HandshakeID() == id
}

// rate is how many requests a second are allowed, 0 for no limit.
func (a agreement) rate() float64 {
	_, text, _ := strings.Cut(string(a), " ")
	perMinute, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return float64(perMinute) / 60
}

// limitRate bounds the requests per second to what the webhook wants and what the endpoint allows.
func (e *endpoint) limitRate() {
	rate := e.options.Rate
	if allowed := e.agreed.rate(); e.options.Handshake && allowed > 0 && (rate == 0 || allowed < rate) {
		rate = allowed
	}
	e.limiter.set(rate)
}

// shake asks the endpoint whether it agrees, before it gets anything. It is called, and returns, with the mutex held.
func (d *Dispatcher) shake(e *endpoint) (agreed bool) {
	target := e.target
	if e.agreed.covers(target) {
		return true
	}
	d.mu.Unlock()
	o := d.Sender.Handshake(d.sendCtx, target)
	d.mu.Lock()
	switch {
	case o.Class == webhook.ClassCanceled, target != e.target:
		return false // the relay stops, or the webhook has changed: whoever made it so asks again
	case o.Class.Verdict() != webhook.Delivered:
		d.Metrics.Attempt(string(o.Class), o.Duration)
		d.refused(e, o)
		return false
	}
	e.agreed = agreementOf(target, o)
	e.limitRate()
	d.ledger.agreed(e.id, string(e.agreed))
	d.Log.Info("webhook has agreed to be called", "webhook", e.name)
	return true
}

// refused lets an endpoint rest that does not agree. No attempt is used up, and its events wait.
func (d *Dispatcher) refused(e *endpoint, o webhook.Outcome) {
	if e.FailingSince.IsZero() {
		e.FailingSince = time.Now()
	}
	d.breakOff(e, o)
}

// greet begins the handshake of an endpoint that has not agreed yet.
func (d *Dispatcher) greet(e *endpoint) {
	if e.served && e.enabled && !d.closing && !e.resting() && !e.agreed.covers(e.target) {
		d.probe(e)
	}
}

// putOff leaves a parked delivery alone until its endpoint has agreed.
func (d *Dispatcher) putOff(e *endpoint, due *outbox.DueRetry) {
	d.ledger.park(outbox.Retry{
		Event: due.ID, Webhook: e.id, Attempts: due.Attempts, Due: time.Now().Add(d.Breaker.Pause), Class: string(webhook.ClassHandshakeRefused), Claimed: true,
	})
}
