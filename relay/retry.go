package relay

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
	retriesPerEndpoint = 4
	// retryPoll is how often the store is asked for due deliveries, retryAgain how soon after it had some: an endpoint that is
	// back after an hour has many.
	retryPoll  = time.Second
	retryAgain = 50 * time.Millisecond
)

// retry sends parked deliveries as they become due, until ctx ends.
func (d *dispatcher) retry(ctx context.Context) error {
	timer := time.NewTimer(retryPoll)
	defer timer.Stop()
	for {
		wait := retryPoll
		free, busy := d.retryRoom()
		if free > 0 {
			due, err := d.leader.ClaimDue(ctx, free, retriesPerEndpoint, busy)
			if err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
			for i := range due {
				d.retryOne(&due[i])
			}
			if len(due) > 0 {
				wait = retryAgain
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
	}
}

// retryRoom returns how many more may be sent, and the webhooks that have no room of their own.
func (d *dispatcher) retryRoom() (free int, busy []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	free, busy = retrySlots, []int64{}
	for id, e := range d.endpoints {
		free -= e.retries
		if e.retries >= retriesPerEndpoint || !e.enabled {
			busy = append(busy, id)
		}
	}
	if d.closing {
		free = 0
	}
	return free, busy
}

func (d *dispatcher) retryOne(due *outbox.Due) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.endpoints[due.Webhook]
	switch {
	case d.closing: // the lease ends with the epoch
	case e == nil:
		d.ledger.unpark(due.Webhook, due.ID) // nobody wants it any more
	case due.Expired:
		d.log.Warn("parked delivery has outlived its event", "webhook", e.name, "event", due.ID)
		d.ledger.park(outbox.Parked{Event: due.ID, Webhook: due.Webhook, Attempts: due.Attempts, Class: string(webhook.ClassCanceled)})
	default:
		e.retries++
		d.workers.Go(func() {
			began := time.Now()
			outcome := d.send(e, &due.Event, due.Attempts+1)
			d.finish(e, &due.Event, due.Attempts+1, began, outcome)
			d.mu.Lock()
			e.retries--
			d.mu.Unlock()
		})
	}
}
