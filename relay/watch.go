package relay

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// watchPoll is how often a relay looks for webhooks that were changed by hand, or by another relay.
const watchPoll = time.Second

// watch takes over what was changed by hand, and follows the outbox's clock, until ctx ends.
func (d *dispatcher) watch(ctx context.Context) error {
	var changes outbox.WebhookChanges
	clock := clockWatch{server: "outbox", log: d.log, metrics: d.metrics}
	return every(ctx, watchPoll, nil, func(ctx context.Context) error {
		ahead, took, err := d.store.SyncClock(ctx)
		if err != nil {
			return err
		}
		clock.observe(ahead, took)
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

// reload takes webhooks that were made or changed by hand into the matching of events. Their endpoints come first: an event
// for one that the dispatcher does not know would wait for the next start. What is deleted from the outbox is forgotten here, too.
func (in *ingest) reload(ctx context.Context) error {
	in.subs.forget(in.dispatch.takeForgotten())
	changed, err := in.changes.Look(ctx, in.store)
	if err != nil || len(changed) == 0 {
		return err
	}
	in.dispatch.update(changed)
	in.subs.reload(changed)
	return in.findTenants(ctx, changed)
}
