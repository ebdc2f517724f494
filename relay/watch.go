package relay

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// watchPoll is how often a relay looks for webhooks that were changed by hand, or by another relay.
const watchPoll = time.Second

// watch takes over what was changed by hand, and follows the outbox's clock, until ctx ends.
func (d *dispatcher) watch(ctx context.Context) error {
	var changes outbox.WebhookChanges
	return loop.Every(ctx, watchPoll, nil, func(ctx context.Context) error {
		ahead, took, err := d.store.SyncClock(ctx)
		if err != nil {
			return err
		}
		d.clock.Observe(ahead, took)
		if err := d.followClock(ctx); err != nil {
			return err
		}
		changed, err := changes.Look(ctx, d.store)
		if err != nil {
			return err
		}
		d.update(changed)
		return nil
	})
}

// followClock lets what waits not wait for longer because the outbox's clock was set back. The leader does it for all.
func (d *dispatcher) followClock(ctx context.Context) error {
	d.mu.Lock()
	leader := d.leader
	d.mu.Unlock()
	if leader == nil {
		return nil
	}
	return d.followClockAs(ctx, leader)
}

func (d *dispatcher) followClockAs(ctx context.Context, leader *outbox.Leader) error {
	set, err := leader.FollowClock(ctx)
	if set != 0 {
		d.log.Warn("the clock of the outbox's server was set", "by", set.Round(time.Millisecond).String())
	}
	return err
}
