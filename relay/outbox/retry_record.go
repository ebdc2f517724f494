package outbox

import (
	"cmp"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Retry is a delivery that failed and will be tried again, or is dead.
type Retry struct {
	Event, Webhook int64
	Attempts       int
	Due            time.Time // the zero time for a dead one
	Class          string
	Status         int
	// Key orders it: see StrictKey and ResourceKey. Empty for no order.
	Key string
	// Claimed: it was a retry before, claimed by this member.
	Claimed bool
}

// queueRetries writes the retries that the member still holds. Another relay may have claimed a retry, or serve the webhook, meanwhile;
// then the member's state is void.
func (d *Delivery) queueRetries(batch *pgx.Batch, member int64, leads bool) {
	// Stable: of two outcomes of a delivery, the later one must win.
	slices.SortStableFunc(d.RetriesDone, func(a, b DeliveryKey) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	slices.SortStableFunc(d.Retries, func(a, b Retry) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	for i := range d.RetriesDone {
		batch.Queue(`DELETE FROM retry WHERE event = $1 AND webhook = $2 AND lease = $3`, d.RetriesDone[i].Event, d.RetriesDone[i].Webhook, member)
	}
	for i := range d.RetriesReleased {
		batch.Queue(`UPDATE retry SET lease = NULL WHERE event = $1 AND webhook = $2 AND lease = $3`, d.RetriesReleased[i].Event, d.RetriesReleased[i].Webhook, member)
	}
	for i := range d.Retries {
		r := &d.Retries[i]
		dead := r.Due.IsZero()
		wait := time.Duration(0)
		if !dead {
			wait = time.Until(r.Due) // the server counts from its own now
		}
		if r.Claimed {
			batch.Queue(`UPDATE retry SET attempts = $4, due = CASE WHEN $5 THEN 'infinity' ELSE clock_timestamp() + $6::interval END,
					class = $7, status = $8, lease = NULL WHERE event = $1 AND webhook = $2 AND lease = $3`,
				r.Event, r.Webhook, member, r.Attempts, dead, wait, r.Class, r.Status)
			continue
		}
		batch.Queue(`INSERT INTO retry (event, webhook, attempts, due, class, status, order_key) SELECT $4, $3, $5, CASE WHEN $6 THEN 'infinity' ELSE clock_timestamp() + $7::interval END, $8, $9, nullif($10, '')
			WHERE EXISTS (SELECT FROM webhook WHERE id = $3 AND `+mayServe+`)
			ON CONFLICT (event, webhook) DO UPDATE SET attempts = greatest(retry.attempts, excluded.attempts), due = excluded.due,
				class = excluded.class, status = excluded.status, lease = NULL`,
			member, leads, r.Webhook, r.Event, r.Attempts, dead, wait, r.Class, r.Status, r.Key)
	}
}
