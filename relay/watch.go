package relay

import (
	"context"
	"time"
)

// watchPoll is how often a relay looks for webhooks that were changed by hand, or by another relay.
const watchPoll = time.Second

// versionOverlap is how many versions are looked at again: they are not committed in their own order.
const versionOverlap = 100

// watch takes over what was changed by hand, until ctx ends.
func (d *dispatcher) watch(ctx context.Context) error {
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	newest, seen := int64(0), map[int64]int64{}
	for first := true; ; first = false {
		changed, err := d.store.ChangedWebhooks(ctx, max(newest-versionOverlap, 0))
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		fresh := changed[:0]
		for i := range changed {
			w := &changed[i]
			if seen[w.ID] < w.Version {
				seen[w.ID], newest = w.Version, max(newest, w.Version)
				fresh = append(fresh, *w)
			}
		}
		if len(fresh) > 0 && !first {
			d.update(fresh)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
