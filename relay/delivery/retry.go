package delivery

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

const (
	// retrySlots bounds the parked deliveries being sent at a time, retriesPerEndpoint those of one endpoint: first attempts
	// never wait behind them, and one hanging endpoint does not take all of them.
	retrySlots         = 64
	retriesPerEndpoint = 8
	// retryPoll is how often the store is asked for due deliveries, retryAgain how soon after it had some: an endpoint that is
	// back after an hour has many.
	retryPoll  = time.Second
	retryAgain = 50 * time.Millisecond
)

// retry sends parked deliveries as they become due, until ctx ends. Any relay may send them, but for those of webhooks that
// keep an order or a rate.
func (d *Dispatcher) retry(ctx context.Context) error {
	timer := time.NewTimer(d.stretch * retryPoll)
	defer timer.Stop()
	for {
		began := time.Now()
		due, err := d.claimDue(ctx)
		took := time.Since(began)
		if err == nil {
			err = d.meet(ctx, due)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		d.retryAll(due)
		wait := d.stretch * retryPoll
		if len(due) > 0 || d.retrying() {
			wait = max(d.stretch*retryAgain, 4*took) // a claim among very many webhooks must not keep the outbox busy
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// retrying reports whether what is being done may set others free: those that are ordered behind it.
func (d *Dispatcher) retrying() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ledger.unwritten() {
		return true
	}
	for _, e := range d.endpoints {
		if e.retries > 0 && len(e.blocked) > 0 {
			return true
		}
	}
	return false
}

func (d *Dispatcher) claimDue(ctx context.Context) ([]outbox.DueRetry, error) {
	free, busy, leads := d.retryRoom()
	if free <= 0 || !d.Member.Alive() {
		return nil, nil
	}
	return d.Member.ClaimDue(ctx, outbox.Claim{Leads: leads, Limit: free, PerWebhook: retriesPerEndpoint, Bytes: readBytes, Except: busy})
}

// retryRoom returns how many more may be sent, and the webhooks that have no room of their own.
func (d *Dispatcher) retryRoom() (free int, busy []int64, leads bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	free, busy = retrySlots-len(d.retryScheduler.permits), []int64{}
	now := time.Now()
	for id, e := range d.endpoints {
		full := e.retries >= retriesPerEndpoint || e.limiter.bucket != nil && (e.retries > 0 || now.Before(e.retryAfter))
		if full || !d.retryScheduler.admits(e.group, e.pace()) || !e.enabled || e.resting() || e.half || e.letGo || !e.agreed.covers(e.target) {
			busy = append(busy, id)
		}
	}
	if d.closing {
		free = 0
	}
	return free, busy, d.leader != nil
}

// meet learns of the webhooks that another relay serves and that have deliveries due.
func (d *Dispatcher) meet(ctx context.Context, due []outbox.DueRetry) error {
	var unknown []int64
	d.mu.Lock()
	for i := range due {
		if d.endpoints[due[i].Webhook] == nil {
			unknown = append(unknown, due[i].Webhook)
		}
	}
	d.mu.Unlock()
	if len(unknown) == 0 {
		return nil
	}
	webhooks, err := d.Store.LoadWebhooksByID(ctx, unknown)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		if d.endpoints[webhooks[i].ID] == nil {
			d.newEndpoint(&webhooks[i])
		}
	}
	return nil
}

func (d *Dispatcher) retryAll(due []outbox.DueRetry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range due {
		e := d.endpoints[due[i].Webhook]
		if e == nil {
			d.ledger.unpark(due[i].Webhook, due[i].ID) // nobody wants it any more
			continue
		}
		d.retryOne(e, &due[i])
	}
}

// passedOver deals with a parked delivery of which nothing is to be sent: its event is gone, or its endpoint has not agreed.
func (d *Dispatcher) passedOver(e *endpoint, due *outbox.DueRetry) bool {
	if due.Expired {
		d.Log.Warn("retry dropped: its event is past retention", "webhook", e.name, "event", due.ID)
		d.ledger.park(outbox.Retry{Event: due.ID, Webhook: due.Webhook, Attempts: due.Attempts, Class: string(webhook.ClassCanceled), Claimed: true})
		d.hold(e, due.Key, true, true)
		return true
	}
	if !e.agreed.covers(e.target) {
		d.putOff(e, due)
		return true
	}
	return false
}

// retryOne sends a parked delivery. The lease of one that is not sent ends with the member.
func (d *Dispatcher) retryOne(e *endpoint, due *outbox.DueRetry) {
	if d.closing || d.passedOver(e, due) {
		return
	}
	permit := d.retryScheduler.acquire(e)
	if permit == nil { // others of its tenant or host were claimed with it
		d.ledger.unlease(due.Webhook, due.ID)
		return
	}
	if wait := e.limiter.wait(time.Now()); wait > 0 {
		d.retryScheduler.release(permit)
		e.retryAfter = time.Now().Add(wait)
		d.ledger.unlease(due.Webhook, due.ID)
		return
	}
	e.retries++
	d.workers.Go(func() {
		began := time.Now()
		outcome := d.send(e, &due.Event, due.Attempts+1)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.retryScheduler.release(permit)
		d.retried(e, due, began, outcome)
	})
}

// probeWith sends a parked delivery with the sender of the probe.
func (d *Dispatcher) probeWith(e *endpoint, due *outbox.DueRetry) {
	if d.passedOver(e, due) {
		d.advance(e)
		return
	}
	e.retries++
	d.mu.Unlock()
	began := time.Now()
	outcome := d.send(e, &due.Event, due.Attempts+1)
	d.mu.Lock()
	d.retried(e, due, began, outcome)
}

// retried books a further attempt.
func (d *Dispatcher) retried(e *endpoint, due *outbox.DueRetry, began time.Time, o webhook.Outcome) {
	e.retries--
	if o.Class == webhook.ClassCanceled {
		return
	}
	number := due.Attempts + 1
	d.book(e, &due.Event, number, began, o)
	if o.Class == webhook.ClassWrongTenant {
		d.ledger.unpark(e.id, due.ID)
		d.release(e, due.Key)
		d.advance(e)
		return
	}
	if o.Class.Verdict() == webhook.Delivered {
		d.Metrics.Delivered(time.Since(due.Occurred))
		d.ledger.unpark(e.id, due.ID)
		d.release(e, due.Key)
		d.succeeded(e)
		d.advance(e)
		return
	}
	if e.half && o.Class.Verdict() == webhook.Retry { // a probe uses no attempt up
		d.ledger.park(outbox.Retry{
			Event: due.ID, Webhook: e.id, Attempts: due.Attempts, Due: time.Now(), Class: string(o.Class), Status: o.Status, Claimed: true,
		})
	} else {
		d.park(e, &due.Event, number, o, due.Key, true)
	}
	if e.served || o.Class == webhook.ClassHTTP410 {
		d.failed(e, o)
	}
	if e.half && !o.Class.ReachedOut() {
		d.advance(e) // the next event is the probe
	}
}
