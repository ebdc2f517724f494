package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// probe asks for the handshake, if one is needed. After a pause it then asks for one request, with the oldest undelivered event: a
// retry, or else the next of the event log. Until its sender is free, nothing else is sent to the endpoint.
func (d *Dispatcher) probe(e *endpoint) {
	if e.breaker.probing || d.closing || !e.may().probe {
		return
	}
	e.probeWanted()
	d.startRequests(e)
}

// runProbe is run by the probe's sender.
func (d *Dispatcher) runProbe(e *endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	accepted := d.makeHandshake(e)
	if accepted && e.breaker.tripped() && e.options.Ordering == webhook.OrderingStrict { // it was paused only for the handshake
		e.handshakeDone()
		d.recorder.health(e.id, e.breaker.Health)
	}
	if !accepted || !e.breaker.tripped() {
		e.probeSettled(time.Now())
		d.advance(e)
		return
	}
	d.mu.Unlock()
	due, err := d.claimOldest(e.id)
	d.mu.Lock()
	e.probeSettled(time.Now())
	switch {
	case err != nil:
		d.recorder.fail(err)
	case d.closing: // the retry's lease ends with the membership
	case !e.owned || !e.enabled || e.breaker.open():
		if due != nil { // for when it is enabled again or its new pause ends, or for the relay that delivers to it
			d.recorder.retryReleased(due.Webhook, due.ID)
		}
	case due == nil:
		e.probeReady()
		d.advance(e)
	default:
		e.probeReady()
		d.sendProbe(e, due)
	}
}

// claimOldest leases the oldest retry of a webhook, over one of the connections for reading.
func (d *Dispatcher) claimOldest(id int64) (*outbox.DueRetry, error) {
	d.reads.connections <- struct{}{}
	defer func() { <-d.reads.connections }()
	return d.Member.ClaimOldest(d.sendCtx, id)
}

// sendProbe sends a retry as the probe, with the probe's sender.
func (d *Dispatcher) sendProbe(e *endpoint, due *outbox.DueRetry) {
	if d.refuseRetry(e, due) {
		d.advance(e)
		return
	}
	e.retries++
	d.mu.Unlock()
	began := time.Now()
	outcome := d.send(e, &due.Event, due.Attempts+1)
	d.mu.Lock()
	d.finishRetry(e, due, began, &outcome)
}

// probeAgain looks for another probe of a half-open endpoint that has nothing to send: a delivery may have become a retry since.
func (d *Dispatcher) probeAgain(e *endpoint) {
	if e.breaker.halfOpen() && e.attempts == 0 && e.queue.len() == 0 && e.retries == 0 && !e.cursor.reading && !e.breaker.probing &&
		e.cursor.through(d.head) >= d.head {
		e.probeMissing()
		d.probe(e)
	}
}
