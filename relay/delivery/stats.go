package delivery

import (
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Stats returns the gauges of each webhook; retries comes from the outbox.
func (d *Dispatcher) Stats(retries map[int64]outbox.RetryCount) []admin.WebhookStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats := make([]admin.WebhookStats, 0, len(d.endpoints))
	for id, e := range d.endpoints {
		if d.leader == nil && !e.owned {
			continue // the relay that delivers to it reports it
		}
		s := admin.WebhookStats{Webhook: e.label(), Queued: e.queue.size(), Retrying: retries[id].Waiting, Dead: retries[id].Dead}
		if e.owned && e.cursor.catchingUp {
			s.Lag = int(d.head - e.cursor.readFrom)
		}
		stats = append(stats, s)
	}
	return stats
}
