package relay

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// watchPoll is how often a relay looks for webhooks that were changed by hand, or by another relay.
	watchPoll = time.Second
	// versionOverlap is how many versions are looked at again: they are not committed in their own order.
	versionOverlap = 100
)

// changes finds the webhooks that have changed since it last looked.
type changes struct {
	store  *outbox.Store
	newest int64
	seen   map[int64]int64 // version by webhook
}

func (c *changes) look(ctx context.Context) ([]outbox.Webhook, error) {
	changed, err := c.store.ChangedWebhooks(ctx, max(c.newest-versionOverlap, 0))
	if err != nil {
		return nil, err
	}
	if c.seen == nil {
		c.seen = map[int64]int64{}
	}
	fresh := changed[:0]
	for i := range changed {
		if w := &changed[i]; c.seen[w.ID] < w.Version {
			c.seen[w.ID], c.newest = w.Version, max(c.newest, w.Version)
			fresh = append(fresh, *w)
		}
	}
	return fresh, nil
}

// watch takes over what was changed by hand, until ctx ends.
func (d *dispatcher) watch(ctx context.Context) error {
	since := changes{store: d.store}
	return every(ctx, watchPoll, nil, func(ctx context.Context) error {
		changed, err := since.look(ctx)
		if err != nil {
			return err
		}
		d.update(changed)
		return nil
	})
}

// reload takes webhooks that were made or changed by hand into the matching of events. Their endpoints come first: an event
// for one that the dispatcher does not know would wait for the next start.
func (in *ingest) reload(ctx context.Context) error {
	changed, err := in.changes.look(ctx)
	if err != nil || len(changed) == 0 {
		return err
	}
	in.dispatch.update(changed)
	in.subs.reload(changed)
	return nil
}
