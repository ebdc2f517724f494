package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
)

// DelayedEvent is an event that a later change may still cancel. It has no ID yet.
type DelayedEvent struct {
	Event
	CancelKey string    // a change with the same key cancels the event
	Due       time.Time // commit time in the IAM after which it cannot be canceled
}

// Cancellation cancels delayed events of earlier transactions that are not due yet.
type Cancellation struct {
	Keys []string  // CancelKeys
	By   cdc.LSN   // commit of the canceling transaction
	At   time.Time // its commit time
}

// queueDelayed inserts before it deletes, because a transaction of the chunk may cancel events of an earlier one.
func (c *Chunk) queueDelayed(batch *pgx.Batch) {
	eachPiece(len(c.Delayed), func(i int) int { return c.Delayed[i].bytes() }, func(from, to int) { queueDelayedEvents(batch, c.Delayed[from:to]) })
	for _, by := range c.Cancel {
		batch.Queue(`DELETE FROM delayed_event WHERE cancel_key = ANY ($1) AND lsn < $2::text::pg_lsn AND due >= $3`, by.Keys, by.By.String(), by.At).
			Exec(func(tag pgconn.CommandTag) error {
				c.Canceled += int(tag.RowsAffected())
				return nil
			})
	}
	if len(c.DelayedDone) > 0 {
		lsns, ordinals := make([]string, len(c.DelayedDone)), make([]int32, len(c.DelayedDone))
		for i := range c.DelayedDone {
			lsns[i], ordinals[i] = c.DelayedDone[i].LSN.String(), int32(c.DelayedDone[i].Ordinal)
		}
		batch.Queue(`DELETE FROM delayed_event h USING unnest($1::text[], $2::int[]) AS w(lsn, ordinal)
			WHERE h.lsn = w.lsn::pg_lsn AND h.ordinal = w.ordinal`, lsns, ordinals)
	}
}

func queueDelayedEvents(batch *pgx.Batch, events []DelayedEvent) {
	n := len(events)
	lsns, ordinals, webhookIDs, names := make([]string, n), make([]int32, n), make([]string, n), make([]string, n)
	tenants, resources, occurred, bodies := make([]string, n), make([]string, n), make([]time.Time, n), make([][]byte, n)
	webhooks, cancelKeys, due, reconciled := make([]string, n), make([]string, n), make([]time.Time, n), make([]bool, n)
	for i := range events {
		e := &events[i]
		lsns[i], ordinals[i], webhookIDs[i], names[i] = e.LSN.String(), int32(e.Ordinal), e.WebhookID, e.Name
		tenants[i], resources[i], occurred[i], bodies[i] = e.Tenant, e.Resource, e.Occurred, e.Body
		webhooks[i], cancelKeys[i], due[i], reconciled[i] = arrayLiteral(e.Webhooks), e.CancelKey, e.Due, e.Reconciled
	}
	batch.Queue(`INSERT INTO delayed_event (lsn, ordinal, webhook_id, name, tenant, resource, occurred, body, webhooks, cancel_key, due, reconciled)
		SELECT lsn::pg_lsn, ordinal, webhook_id, name, nullif(tenant, ''), resource, occurred, body, webhooks::bigint[], cancel_key, due, reconciled
		FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::bytea[], $9::text[], $10::text[], $11::timestamptz[], $12::bool[])
		AS w(lsn, ordinal, webhook_id, name, tenant, resource, occurred, body, webhooks, cancel_key, due, reconciled)`,
		lsns, ordinals, webhookIDs, names, tenants, resources, occurred, bodies, webhooks, cancelKeys, due, reconciled)
}

// dueBytes bounds the bodies that DelayedDue returns; a single larger one is still returned.
const dueBytes = 4 << 20

// DelayedDue returns delayed events that are due at now, earliest first. It returns at most limit, fewer if they are large, and none only if there are
// no more.
func (l *Leader) DelayedDue(ctx context.Context, now time.Time, limit int) ([]DelayedEvent, error) {
	rows, err := l.write.Query(ctx, `SELECT lsn::text, ordinal, webhook_id, name, coalesce(tenant, ''), resource, occurred, body, webhooks, cancel_key, due, reconciled
		FROM delayed_event WHERE due < $1 ORDER BY due, lsn, ordinal LIMIT $2`, now, limit)
	if err != nil {
		return nil, fmt.Errorf("read delayed events: %w", err)
	}
	defer rows.Close()
	var due []DelayedEvent
	for bytes := 0; rows.Next(); {
		var h DelayedEvent
		var lsn string
		if err := rows.Scan(&lsn, &h.Ordinal, &h.WebhookID, &h.Name, &h.Tenant, &h.Resource, &h.Occurred, &h.Body, &h.Webhooks, &h.CancelKey, &h.Due, &h.Reconciled); err != nil {
			return nil, fmt.Errorf("read delayed events: %w", err)
		}
		if h.LSN, err = cdc.ParseLSN(lsn); err != nil {
			return nil, fmt.Errorf("read delayed events: %w", err)
		}
		if bytes += h.bytes(); bytes > dueBytes && len(due) > 0 {
			break
		}
		due = append(due, h)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read delayed events: %w", err)
	}
	return due, nil
}

// DelayedCount returns the number of delayed events, and when the first is due; the zero time if there are none.
func (s *Store) DelayedCount(ctx context.Context) (count int, due time.Time, err error) {
	var first *time.Time
	if err := s.pool.QueryRow(ctx, `SELECT count(*), min(due) FROM delayed_event`).Scan(&count, &first); err != nil {
		return 0, due, fmt.Errorf("count delayed events: %w", err)
	}
	if first != nil {
		due = *first
	}
	return count, due, nil
}
