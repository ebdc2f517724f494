package delivery

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// watchPoll is how often a relay looks for webhooks that were changed by hand, or by another relay.
const WatchPoll = time.Second

// watch takes over what was changed by hand, and follows the outbox's clock, until ctx ends.
func (d *Dispatcher) watch(ctx context.Context) error {
	var changes outbox.WebhookChanges
	return loop.Every(ctx, d.stretch*WatchPoll, nil, func(ctx context.Context) error {
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

// followClock lets what waits not wait for longer because the outbox's clock was set back. The leader does it for all.
func (d *Dispatcher) followClockIfLeading(ctx context.Context) error {
	d.mu.Lock()
	leader := d.leader
	d.mu.Unlock()
	if leader == nil {
		return nil
	}
	return d.FollowClock(ctx, leader)
}

func (d *Dispatcher) FollowClock(ctx context.Context, leader Leader) error {
	set, err := leader.FollowClock(ctx)
	if set != 0 {
		d.Log.Warn("the clock of the outbox's server was set", "by", set.Round(time.Millisecond).String())
	}
	return err
}
