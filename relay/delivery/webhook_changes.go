package delivery

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// WatchPoll is how often a relay looks for webhooks that were changed by command or by another relay.
const WatchPoll = time.Second

// watchWebhooks takes over changed webhooks, and follows the clock of the outbox's server, until ctx ends.
func (d *Dispatcher) watchWebhooks(ctx context.Context) error {
	var changes outbox.WebhookChanges
	return loop.Every(ctx, d.stretched(WatchPoll), nil, func(ctx context.Context) error {
		ahead, took, err := d.Store.SyncClock(ctx)
		if err != nil {
			return err
		}
		d.Clock.Observe(ahead, took)
		if err := d.followClockIfLeading(ctx); err != nil {
			return err
		}
		changed, err := d.Store.ChangedWebhooks(ctx, &changes)
		if err != nil {
			return err
		}
		d.Update(changed)
		return nil
	})
}

func (d *Dispatcher) followClockIfLeading(ctx context.Context) error {
	d.mu.Lock()
	leader := d.leader
	d.mu.Unlock()
	if leader == nil {
		return nil
	}
	return d.FollowClock(ctx, leader)
}

// FollowClock corrects due times in the outbox if its server's clock was set back: nothing waits longer because of it.
func (d *Dispatcher) FollowClock(ctx context.Context, leader Leader) error {
	set, err := leader.FollowClock(ctx)
	if set != 0 {
		d.Log.Warn("the clock of the outbox's server was set; due times were corrected", "by", set.Round(time.Millisecond).String())
	}
	return err
}
