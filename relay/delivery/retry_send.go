package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// sendRetry sends a retry that this relay has leased. The lease of one that is not sent because the relay stops ends with the membership.
func (d *Dispatcher) sendRetry(e *endpoint, due *outbox.DueRetry) {
	if d.closing || d.refuseRetry(e, due) {
		return
	}
	permit := d.retryScheduler.acquire(e)
	if permit == nil { // others of its tenant or host were claimed with it
		d.recorder.retryReleased(due.Webhook, due.ID)
		return
	}
	if wait := e.limiter.take(time.Now()); wait > 0 {
		d.retryScheduler.release(permit)
		e.retryAt = time.Now().Add(wait)
		d.recorder.retryReleased(due.Webhook, due.ID)
		return
	}
	e.retries++
	d.workers.Go(func() {
		began := time.Now()
		outcome := d.send(e, &due.Event, due.Attempts+1)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.retryScheduler.release(permit)
		d.finishRetry(e, due, began, &outcome)
	})
}

// refuseRetry reports whether the retry is not to be sent, because its event no longer exists or its endpoint has not accepted the handshake.
func (d *Dispatcher) refuseRetry(e *endpoint, due *outbox.DueRetry) bool {
	if due.Expired {
		d.Log.Warn("retry dropped: its event is past retention; raise outbox.retention if retries should last longer", "webhook", e.name,
			"event", due.ID)
		d.recorder.retry(outbox.Retry{Event: due.ID, Webhook: due.Webhook, Attempts: due.Attempts, Class: string(webhook.ClassCanceled), Claimed: true})
		d.unblockDead(e, due.Key)
		return true
	}
	if !e.handshake.covers(e.target) {
		d.postponeRetry(e, due)
		return true
	}
	return false
}

// finishRetry takes the outcome of a further attempt.
func (d *Dispatcher) finishRetry(e *endpoint, due *outbox.DueRetry, began time.Time, o *webhook.Outcome) {
	e.retries--
	e.usedAt = time.Now()
	if o.Class == webhook.ClassCanceled {
		return // the lease ends with the membership
	}
	d.recordAttempt(e, &due.Event, due.Attempts+1, began, o)
	switch {
	case o.Class == webhook.ClassWrongTenant:
		d.recorder.retryDone(e.id, due.ID)
		d.unblock(e, due.Key)
		d.advance(e)
	case o.Class.Verdict() == webhook.Delivered:
		d.Metrics.Delivered(time.Since(due.Occurred))
		d.recorder.retryDone(e.id, due.ID)
		d.unblock(e, due.Key)
		d.succeeded(e)
		d.advance(e)
	default:
		d.retryFailed(e, due, o)
	}
}

func (d *Dispatcher) retryFailed(e *endpoint, due *outbox.DueRetry, o *webhook.Outcome) {
	if e.breaker.halfOpen() && o.Class.Verdict() == webhook.Retry { // a probe uses no attempt
		d.recorder.retry(outbox.Retry{
			Event: due.ID, Webhook: e.id, Attempts: due.Attempts, Due: time.Now(), Class: string(o.Class), Status: o.Status, Claimed: true,
		})
	} else if dead := d.scheduleRetry(e, &due.Event, due.Attempts+1, o, due.Key, true); dead {
		d.unblockDead(e, due.Key)
	}
	if e.owned || o.Class == webhook.ClassHTTP410 {
		d.failed(e, o)
	}
	if e.breaker.halfOpen() && !o.Class.ReachedOut() {
		d.advance(e) // the next event is the probe
	}
}
