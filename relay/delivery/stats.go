package delivery

import (
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Stats is how each webhook is doing.
func (d *Dispatcher) Stats(parked map[int64]outbox.RetryCount) []admin.WebhookStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats := make([]admin.WebhookStats, 0, len(d.endpoints))
	for id, e := range d.endpoints {
		if d.leader == nil && !e.served {
			continue // another relay shows how it stands
		}
		s := admin.WebhookStats{Webhook: e.label(), Queued: len(e.queue) + len(e.sending), Retrying: parked[id].Waiting, Dead: parked[id].Dead}
		if e.served && e.behind {
			s.Lag = int(d.head - e.readFrom)
		}
		stats = append(stats, s)
	}
	return stats
}
