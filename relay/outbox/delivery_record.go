package outbox

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// DeliveryKey identifies a delivery.
type DeliveryKey struct{ Event, Webhook int64 }

// CursorUpdate is the cursor of a webhook that catches up. Live: it has caught up, and the watermark applies again. Released: this relay has
// released its lease.
type CursorUpdate struct {
	Cursor         int64
	Live, Released bool
}

// Disabling is the reason why the relay disables a webhook. It has no effect if the webhook was changed meanwhile, and so has another
// version.
type Disabling struct {
	Reason  string
	Version int64
}

// Delivery is a batch of delivery outcomes, written in one transaction. It is committed asynchronously: losing it in a crash only repeats
// deliveries, with the same ids.
type Delivery struct {
	Attempts          []Attempt
	Retries           []Retry       // new retries, and failed ones
	RetriesDone       []DeliveryKey // retries that are done
	RetriesReleased   []DeliveryKey // claimed retries that are released unchanged
	Cursors           map[int64]CursorUpdate
	Health            map[int64]Health
	ResumeCounts      map[int64]int       // of the webhooks in Health: the count that the measurement is based on
	Handshakes        map[int64]string    // webhooks that accepted the validation handshake, with what they accepted
	Disable           map[int64]Disabling // webhooks that the relay disables
	OperationalEvents []OperationalEvent
	// Delivered is the watermark. Only the leader sets it.
	Delivered int64
}

// mayServe is true for a webhook that member $1 serves: one that it has leased, or, if it leads ($2), one that is live.
const mayServe = `(lease = $1 OR $2 AND cursor IS NULL)`

// Record writes a batch of outcomes. The epoch is that of this member while it leads, else 0. It returns the ids of webhooks that the member
// no longer serves, and whose state in memory is void.
func (m *Member) Record(ctx context.Context, epoch int64, d *Delivery) ([]int64, error) {
	d = d.inServerTime(m.store)
	var lost []int64
	err := m.store.withPartitions(ctx, func() error {
		lost = nil
		return m.store.pool.SendBatch(ctx, m.recording(epoch, d, &lost)).Close()
	})
	if err != nil {
		return nil, fmt.Errorf("record deliveries: %w", fenced(err))
	}
	return lost, nil
}

// inServerTime returns the batch with the outbox server's times instead of this machine's. The batch itself is not changed: after a failure it
// is recorded again.
func (d *Delivery) inServerTime(s *Store) *Delivery {
	c := *d
	c.Attempts, c.Health = slices.Clone(d.Attempts), maps.Clone(d.Health)
	for i := range c.Attempts {
		c.Attempts[i].At = s.ServerTime(c.Attempts[i].At)
	}
	for id, h := range c.Health {
		h.PausedUntil, h.FailingSince, h.FailedAt = s.ServerTime(h.PausedUntil), s.ServerTime(h.FailingSince), s.ServerTime(h.FailedAt)
		c.Health[id] = h
	}
	return &c
}

// recording returns the statements of a batch, which are one implicit transaction.
func (m *Member) recording(epoch int64, d *Delivery, lost *[]int64) *pgx.Batch {
	batch := &pgx.Batch{}
	leads := epoch != 0
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	if leads {
		batch.Queue(`SELECT advance_watermark($1, $2)`, epoch, d.Delivered)
	}
	d.queueAttempts(batch)
	d.queueRetries(batch, m.id, leads)
	for _, id := range d.webhooks() {
		d.queueWebhook(batch, m.id, leads, id, lost)
	}
	for i := range d.OperationalEvents {
		n := &d.OperationalEvents[i]
		batch.Queue(`INSERT INTO operational_event (webhook, name, event, data) VALUES ($1, $2, nullif($3::bigint, 0), $4::text::json)`, n.Webhook, n.Name, n.Event, string(n.Data))
	}
	return batch
}

// webhooks returns the ids of the webhooks that the batch changes, sorted, which is the order in which all writers lock them.
func (d *Delivery) webhooks() []int64 {
	ids := map[int64]struct{}{}
	for id := range d.Cursors {
		ids[id] = struct{}{}
	}
	for id := range d.Health {
		ids[id] = struct{}{}
	}
	for id := range d.Handshakes {
		ids[id] = struct{}{}
	}
	for id := range d.Disable {
		ids[id] = struct{}{}
	}
	return slices.Sorted(maps.Keys(ids))
}

// queueWebhook writes the state of a webhook. Its id is added to lost if the member no longer serves it.
func (d *Delivery) queueWebhook(batch *pgx.Batch, member int64, leads bool, id int64, lost *[]int64) {
	if p, ok := d.Cursors[id]; ok {
		cursor, lease := &p.Cursor, &member
		if p.Live {
			cursor = nil
		}
		if p.Live || p.Released {
			lease = nil
		}
		batch.Queue(`UPDATE webhook SET cursor = $4, lease = $5 WHERE id = $3 AND `+mayServe, member, leads, id, cursor, lease).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				*lost = append(*lost, id)
			}
			return nil
		})
	}
	if h, ok := d.Health[id]; ok {
		batch.Queue(`UPDATE webhook SET paused_until = $2, pauses = $3, failing_since = $4, failing_spans = $5, failed_at = $6
			WHERE id = $1 AND resume_count <= $7`,
			id, timeOrNull(h.PausedUntil), h.Pauses, timeOrNull(h.FailingSince), h.FailingSpans, timeOrNull(h.FailedAt), d.ResumeCounts[id])
	}
	if to, ok := d.Handshakes[id]; ok {
		batch.Queue(`UPDATE webhook SET handshake = $2, version = nextval('webhook_version') WHERE id = $1`, id, to)
	}
	if stop, ok := d.Disable[id]; ok {
		batch.Queue(`UPDATE webhook SET enabled = false, disabled_reason = $2, version = nextval('webhook_version')
			WHERE id = $1 AND enabled AND version = $3`, id, stop.Reason, stop.Version)
	}
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
