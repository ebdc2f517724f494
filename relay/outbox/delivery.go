package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Attempt is one try to deliver an event to a webhook.
type Attempt struct {
	Event, Webhook int64
	Number         int // from 1
	At             time.Time
	Duration       time.Duration
	Class          string
	Status         int    // HTTP status, 0 without an answer
	Response       string // the first bytes of a bad answer
}

// Parked is a delivery that failed on a working endpoint and has a time of its own.
type Parked struct {
	Event, Webhook int64
	Attempts       int
	Due            time.Time // the zero time: dead, never due again
	Class          string
	Status         int
}

// DeliveryKey names one delivery.
type DeliveryKey struct{ Event, Webhook int64 }

// Delivery is a batch of what delivery has done, written in one transaction. Losing it in a crash repeats deliveries with
// the same ids, so it does not wait for the disk.
type Delivery struct {
	Attempts []Attempt
	Park     []Parked      // new or put off again
	Unpark   []DeliveryKey // delivered at last
	// Cursors: webhooks that read the log by themselves, with the event up to which they are done; nil for one that no longer does.
	Cursors map[int64]*int64
	// Disable: webhooks that the relay stops delivering to, with the reason.
	Disable map[int64]string
	// Delivered is the event up to which all other webhooks are done.
	Delivered int64
}

// Record writes a delivery batch.
func (l *Leader) Record(ctx context.Context, d *Delivery) error {
	batch := &pgx.Batch{}
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	batch.Queue(`SELECT delivered_through($1, $2)`, l.epoch, d.Delivered)
	d.queueAttempts(batch)
	d.queueParked(batch)
	for id, cursor := range d.Cursors {
		batch.Queue(`UPDATE webhook SET cursor = $2 WHERE id = $1`, id, cursor)
	}
	for id, reason := range d.Disable {
		batch.Queue(`UPDATE webhook SET enabled = false, disabled_for = $2 WHERE id = $1`, id, reason)
	}
	if err := l.store.pool.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("record deliveries: %w", fenced(err))
	}
	return nil
}

func (d *Delivery) queueAttempts(batch *pgx.Batch) {
	n := len(d.Attempts)
	if n == 0 {
		return
	}
	events, webhooks, micros := make([]int64, n), make([]int64, n), make([]int64, n)
	numbers, statuses := make([]int32, n), make([]int32, n)
	at, classes, responses := make([]time.Time, n), make([]string, n), make([]*string, n)
	for i := range d.Attempts {
		a := &d.Attempts[i]
		events[i], webhooks[i], micros[i] = a.Event, a.Webhook, a.Duration.Microseconds()
		numbers[i], statuses[i], at[i], classes[i] = int32(a.Number), int32(a.Status), a.At, a.Class
		if a.Response != "" {
			responses[i] = &a.Response
		}
	}
	batch.Queue(`INSERT INTO attempt (day, event, webhook, number, at, micros, class, status, response)
		SELECT $9::date, * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::timestamptz[], $5::bigint[], $6::text[], $7::int[], $8::text[])`,
		events, webhooks, numbers, at, micros, classes, statuses, responses, today())
}

func (d *Delivery) queueParked(batch *pgx.Batch) {
	for i := range d.Unpark {
		batch.Queue(`DELETE FROM parked WHERE event = $1 AND webhook = $2`, d.Unpark[i].Event, d.Unpark[i].Webhook)
	}
	for i := range d.Park {
		p := &d.Park[i]
		var due any = p.Due
		if p.Due.IsZero() {
			due = "infinity"
		}
		batch.Queue(`INSERT INTO parked (event, webhook, attempts, due, class, status) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (event, webhook) DO UPDATE SET attempts = excluded.attempts, due = excluded.due, class = excluded.class,
				status = excluded.status, lease = NULL`, p.Event, p.Webhook, p.Attempts, due, p.Class, p.Status)
	}
}

// Due is a parked delivery whose time has come.
type Due struct {
	Event
	Webhook  int64
	Attempts int
	// Expired: retention has dropped the event, there is nothing left to send.
	Expired bool
}

// ClaimDue leases up to limit parked deliveries that are due, at most perWebhook of one webhook, none of those in except,
// earliest first. A lease of an earlier epoch is void.
func (l *Leader) ClaimDue(ctx context.Context, limit, perWebhook int, except []int64) ([]Due, error) {
	rows, err := l.store.pool.Query(ctx, `WITH due AS (
			SELECT event, webhook, due FROM parked
			WHERE due <= now() AND (lease IS NULL OR lease <> $1) AND webhook <> ALL ($4)
			ORDER BY due LIMIT 1000 FOR UPDATE SKIP LOCKED
		), fair AS (
			SELECT event, webhook FROM (SELECT *, row_number() OVER (PARTITION BY webhook ORDER BY due) AS n FROM due) AS d
			WHERE n <= $3 ORDER BY due LIMIT $2
		), claimed AS (
			UPDATE parked p SET lease = $1 FROM fair WHERE p.event = fair.event AND p.webhook = fair.webhook
			RETURNING p.event, p.webhook, p.attempts, p.due
		)
		SELECT c.webhook, c.attempts, e.id IS NULL, c.event, coalesce(e.webhook_id, ''), coalesce(e.name, ''), coalesce(e.tenant, ''),
			coalesce(e.resource, ''), coalesce(e.occurred, 'epoch'), coalesce(e.body, '')
		FROM claimed c LEFT JOIN event e ON e.id = c.event ORDER BY c.due`, l.epoch, limit, perWebhook, except)
	if err != nil {
		return nil, fmt.Errorf("claim parked deliveries: %w", err)
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Due, error) {
		var d Due
		err := row.Scan(&d.Webhook, &d.Attempts, &d.Expired, &d.ID, &d.WebhookID, &d.Name, &d.Tenant, &d.Resource, &d.Occurred, &d.Body)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("claim parked deliveries: %w", err)
	}
	return due, nil
}

// readSpan bounds how much of the log one read looks at.
const readSpan = 20000

// ReadEvents returns up to limit events of one webhook after a place in the log and up to another, and the place up to which
// it has looked.
func (s *Store) ReadEvents(ctx context.Context, webhook, after, through int64, limit int) ([]Event, int64, error) {
	through = min(through, after+readSpan)
	rows, err := s.pool.Query(ctx, `SELECT id, webhook_id, name, coalesce(tenant, ''), resource, occurred, body FROM event
		WHERE id > $1 AND id <= $2 AND $3 = ANY (webhooks) ORDER BY id LIMIT $4`, after, through, webhook, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("read the event log: %w", err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Event, error) {
		var e Event
		err := row.Scan(&e.ID, &e.WebhookID, &e.Name, &e.Tenant, &e.Resource, &e.Occurred, &e.Body)
		return e, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the event log: %w", err)
	}
	if len(events) == limit {
		through = events[limit-1].ID
	}
	return events, through, nil
}

// ParkedCount is how many deliveries of a webhook wait for their next attempt, and how many were given up.
type ParkedCount struct{ Waiting, Dead int }

// ParkedCounts counts the parked deliveries by webhook.
func (s *Store) ParkedCounts(ctx context.Context) (map[int64]ParkedCount, error) {
	rows, err := s.pool.Query(ctx, `SELECT webhook, count(*) FILTER (WHERE due < 'infinity'), count(*) FILTER (WHERE due = 'infinity')
		FROM parked GROUP BY webhook`)
	if err != nil {
		return nil, fmt.Errorf("count parked deliveries: %w", err)
	}
	counts := map[int64]ParkedCount{}
	var id int64
	var c ParkedCount
	if _, err := pgx.ForEachRow(rows, []any{&id, &c.Waiting, &c.Dead}, func() error { counts[id] = c; return nil }); err != nil {
		return nil, fmt.Errorf("count parked deliveries: %w", err)
	}
	return counts, nil
}
