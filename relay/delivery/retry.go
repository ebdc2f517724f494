package delivery

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// retrySenders bounds the retries in flight, retriesPerEndpoint those of one endpoint: first attempts never wait for them, and a
	// hanging endpoint cannot occupy all of them.
	retrySenders       = 64
	retriesPerEndpoint = 8
	// retryPoll is how often the outbox is asked for due retries, retryAgain how soon after it had some: an endpoint that recovers
	// after an hour has many.
	retryPoll  = time.Second
	retryAgain = 50 * time.Millisecond
	// claimPause is how many times as long as a claim took the next one waits, so that claims among very many webhooks do not keep the
	// outbox busy.
	claimPause = 4
)

// sendDueRetries sends retries as they become due, until ctx ends. Any relay may send a retry, unless its webhook keeps an order or a
// rate limit, or is paused.
func (d *Dispatcher) sendDueRetries(ctx context.Context) error {
	timer := time.NewTimer(d.stretched(retryPoll))
	defer timer.Stop()
	for {
		began := time.Now()
		due, err := d.claimDue(ctx)
		took := time.Since(began)
		var unknown map[int64]*outbox.Webhook
		if err == nil {
			unknown, err = d.loadUnknown(ctx, due)
		}
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		d.sendRetries(due, unknown)
		wait := d.stretched(retryPoll)
		if len(due) > 0 || d.retriesMayUnblock() {
			wait = max(d.stretched(retryAgain), claimPause*took)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// retriesMayUnblock reports whether retries in flight, or not yet recorded, may make others due that are ordered after them.
func (d *Dispatcher) retriesMayUnblock() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.recorder.hasUnrecordedRetries() {
		return true
	}
	for _, e := range d.endpoints {
		if e.retries > 0 && len(e.queue.blocked.count) > 0 {
			return true
		}
	}
	return false
}

func (d *Dispatcher) claimDue(ctx context.Context) ([]outbox.DueRetry, error) {
	free, except, leads := d.retryCapacity()
	if free <= 0 || !d.Member.Alive() {
		return nil, nil
	}
	return d.Member.ClaimDue(ctx, outbox.Claim{Leads: leads, Limit: free, PerWebhook: retriesPerEndpoint, Bytes: readBytes, Except: except})
}

// retryCapacity returns how many more retries may be in flight, and the webhooks whose retries may not be sent now.
func (d *Dispatcher) retryCapacity() (free int, except []int64, leads bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	free, except = min(retrySenders-d.retryScheduler.inUse(), d.attemptsLeft()), []int64{}
	now := time.Now()
	for id, e := range d.endpoints {
		full := e.retries >= retriesPerEndpoint || e.limiter.limited() && (e.retries > 0 || now.Before(e.retryAt))
		if full || !e.mayRetry() || !d.retryScheduler.admits(e.group, e.pacing.pace()) {
			except = append(except, id)
		}
	}
	if d.closing {
		free = 0
	}
	return free, except, d.leader != nil
}

// loadUnknown loads the webhooks of retries that this relay knows nothing of, because another relay delivers to them. The result has nil for
// those that were deleted.
func (d *Dispatcher) loadUnknown(ctx context.Context, due []outbox.DueRetry) (map[int64]*outbox.Webhook, error) {
	unknown := map[int64]*outbox.Webhook{}
	d.mu.Lock()
	for i := range due {
		if d.endpoints[due[i].Webhook] == nil {
			unknown[due[i].Webhook] = nil
		}
	}
	d.mu.Unlock()
	if len(unknown) == 0 {
		return nil, nil
	}
	webhooks, err := d.Store.LoadWebhooksByID(ctx, slices.Collect(maps.Keys(unknown)))
	if err != nil {
		return nil, err
	}
	for i := range webhooks {
		unknown[webhooks[i].ID] = &webhooks[i]
	}
	return unknown, nil
}

// sendRetries sends retries that this relay has leased. unknown comes from loadUnknown.
func (d *Dispatcher) sendRetries(due []outbox.DueRetry, unknown map[int64]*outbox.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range due {
		id := due[i].Webhook
		e := d.endpoints[id]
		w, wasUnknown := unknown[id]
		if e == nil && w != nil {
			e = d.newEndpoint(w)
		}
		switch {
		case e != nil:
			d.sendRetry(e, &due[i])
		case wasUnknown:
			d.recorder.retryDone(id, due[i].ID) // the webhook was deleted
		default:
			d.recorder.retryReleased(id, due[i].ID) // it was dropped meanwhile, and is loaded again
		}
	}
}
