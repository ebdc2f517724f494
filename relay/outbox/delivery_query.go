package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// DeliveryState is the state of a delivery.
type DeliveryState string

// States of a delivery.
const (
	DeliveryPending   DeliveryState = "pending"  // not attempted yet
	DeliveryRetrying  DeliveryState = "retrying" // failed; will be tried again
	DeliveryDead      DeliveryState = "dead"     // failed for good: a permanent failure, or the end of its schedule
	DeliveryDelivered DeliveryState = "delivered"
	DeliverySkipped   DeliveryState = "skipped" // dropped by command
	DeliveryDropped   DeliveryState = "dropped" // its webhook was removed or disabled before
)

// DeliveryStates returns every DeliveryState.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{DeliveryPending, DeliveryRetrying, DeliveryDead, DeliveryDelivered, DeliverySkipped, DeliveryDropped}
}

// DeliveryStatus describes the delivery of an event to a webhook.
type DeliveryStatus struct {
	// Event has no body. If it is past retention, only its ID is set.
	Event
	Webhook int64
	// Label is the webhook's name or key; empty if the webhook no longer exists.
	Label string
	State DeliveryState
	// Attempts is the number since the schedule began, or was restarted.
	Attempts int
	Due      time.Time // when the next attempt is due; zero if there is none
	// Class, Status, Error and At are those of the last attempt. Error and At are empty in listings of retrying or dead deliveries.
	Class  string
	Status int
	Error  string
	At     time.Time
}

// DeliveryFilter selects deliveries. The zero value selects all.
type DeliveryFilter struct {
	EventFilter
	Webhook int64 // 0 for any
	State   DeliveryState
	Class   string // of the last attempt; empty for any
}

// Deliveries returns deliveries, newest events first.
func (s *Store) Deliveries(ctx context.Context, f DeliveryFilter, limit int) ([]DeliveryStatus, error) {
	if f.State == DeliveryRetrying || f.State == DeliveryDead {
		return s.failedDeliveries(ctx, f, limit)
	}
	if f.ID != 0 {
		return s.deliveriesOf(ctx, f, f.ID-1, f.ID, limit)
	}
	var last int64
	if err := s.pool.QueryRow(ctx, `SELECT last_event FROM position`).Scan(&last); err != nil {
		return nil, fmt.Errorf("read the stored position: %w", err)
	}
	first, err := s.FirstEventSince(ctx, f.Since)
	if err != nil || first == 0 {
		return nil, err
	}
	if f.State == DeliveryPending { // events up to done have no pending deliveries
		var done int64
		if err := s.pool.QueryRow(ctx, `SELECT least(min(cursor), (SELECT delivered FROM watermark)) FROM webhook`).Scan(&done); err != nil {
			return nil, fmt.Errorf("read the cursors of webhooks: %w", err)
		}
		first = max(first, done+1)
	}
	// No index finds the newest deliveries that pass the filter, so the log is read backwards in growing ranges.
	var all []DeliveryStatus
	for span := int64(1000); last >= first && len(all) < limit; span = min(span*2, 64_000) {
		after := max(last-span, first-1)
		some, err := s.deliveriesOf(ctx, f, after, last, limit-len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		last = after
	}
	return all, nil
}

// failedDeliveries reads retrying or dead deliveries from table retry, which has everything but the errors.
func (s *Store) failedDeliveries(ctx context.Context, f DeliveryFilter, limit int) ([]DeliveryStatus, error) {
	rows, err := s.pool.Query(ctx, `SELECT p.event, coalesce(e.webhook_id, ''), coalesce(e.name, ''), coalesce(e.tenant, ''), coalesce(e.resource, ''),
			coalesce(e.occurred, '0001-01-01Z'), p.webhook, coalesce(nullif(w.name, ''), w.key, ''), CASE p.due WHEN 'infinity' THEN 'dead' ELSE 'retrying' END,
			p.attempts, coalesce(nullif(p.due, 'infinity'), '0001-01-01Z'), p.class, p.status, '', '0001-01-01Z'::timestamptz
		FROM retry p LEFT JOIN event e ON e.id = p.event LEFT JOIN webhook w ON w.id = p.webhook
		WHERE (p.due = 'infinity') = ($8 = 'dead') AND ($9::bigint = 0 OR p.webhook = $9) AND (e.id IS NULL AND $10 OR `+eventFilter+`)
			AND ($12 = '' OR p.class = $12)
		ORDER BY p.event DESC, p.webhook LIMIT $11`,
		append(f.parameters(), string(f.State), f.Webhook, f.EventFilter.any(), limit, f.Class)...)
	if err != nil {
		return nil, fmt.Errorf("read retries: %w", err)
	}
	all, err := collectDeliveries(rows)
	if err != nil {
		return nil, fmt.Errorf("read retries: %w", err)
	}
	return all, nil
}

// any reports whether every event passes the filter, also one of which only the id is known.
func (f *EventFilter) any() bool {
	return f.ID == 0 && f.WebhookID == "" && f.Names == nil && f.Tenant == "" && f.Resource == "" && f.Since.IsZero() && f.Until.IsZero()
}

// deliveriesOf joins a range of the event log with the attempts and the retries.
func (s *Store) deliveriesOf(ctx context.Context, f DeliveryFilter, after, through int64, limit int) ([]DeliveryStatus, error) {
	var all []DeliveryStatus
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		// The planner cannot estimate the CTEs, and nested loops over them would take minutes.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_nestloop = off`); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, deliveriesOfSpan, append(f.parameters(), after, through, f.Webhook, string(f.State), limit, f.Class)...)
		if err != nil {
			return err
		}
		all, err = collectDeliveries(rows)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return all, nil
}

// deliveriesOfSpan collects pairs of event and webhook from all three tables, since a replayed event may go to a webhook that was not
// subscribed to it.
const deliveriesOfSpan = `WITH e AS MATERIALIZED (
			SELECT e.* FROM event e WHERE e.id > $8 AND e.id <= $9 AND ` + eventFilter + `
		), tried AS MATERIALIZED (
			SELECT DISTINCT ON (event, webhook) event, webhook, number, at, class, status, coalesce(error, '') AS error FROM attempt
			WHERE event > $8 AND event <= $9 AND ($10::bigint = 0 OR webhook = $10) ORDER BY event, webhook, at DESC, number DESC
		), pair AS (
			SELECT id AS event, unnest(webhooks) AS webhook FROM e UNION SELECT event, webhook FROM tried
			UNION SELECT event, webhook FROM retry WHERE event > $8 AND event <= $9
		), d AS (
			SELECT e.id, e.webhook_id, e.name, coalesce(e.tenant, ''), e.resource, e.occurred, pair.webhook, coalesce(nullif(w.name, ''), w.key, ''),
				CASE WHEN p.due = 'infinity' THEN 'dead' WHEN p.due IS NOT NULL THEN 'retrying' WHEN t.class = 'delivered' THEN 'delivered'
					WHEN t.class = 'canceled' THEN 'skipped' WHEN w.id IS NOT NULL AND e.id > coalesce(w.cursor, (SELECT delivered FROM watermark)) THEN 'pending'
					ELSE 'dropped' END AS state,
				coalesce(p.attempts, t.number, 0), coalesce(nullif(p.due, 'infinity'), '0001-01-01Z'), coalesce(t.class, p.class, '') AS class,
				coalesce(t.status, p.status, 0), coalesce(t.error, ''), coalesce(t.at, '0001-01-01Z')
			FROM pair JOIN e ON e.id = pair.event LEFT JOIN webhook w ON w.id = pair.webhook
				LEFT JOIN retry p ON p.event = pair.event AND p.webhook = pair.webhook
				LEFT JOIN tried t ON t.event = pair.event AND t.webhook = pair.webhook
			WHERE $10::bigint = 0 OR pair.webhook = $10
		) SELECT * FROM d WHERE ($11 = '' OR state = $11) AND ($13 = '' OR class = $13) ORDER BY id DESC, webhook LIMIT $12`

func collectDeliveries(rows pgx.Rows) ([]DeliveryStatus, error) {
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (DeliveryStatus, error) {
		var d DeliveryStatus
		err := row.Scan(&d.ID, &d.WebhookID, &d.Name, &d.Tenant, &d.Resource, &d.Occurred, &d.Webhook, &d.Label, &d.State, &d.Attempts, &d.Due,
			&d.Class, &d.Status, &d.Error, &d.At)
		d.Occurred, d.Due, d.At = d.Occurred.UTC(), d.Due.UTC(), d.At.UTC()
		return d, err
	})
}

// Attempts returns the attempts to deliver an event, to one webhook unless that is 0, oldest first.
func (s *Store) Attempts(ctx context.Context, event, webhook int64) ([]Attempt, error) {
	rows, err := s.pool.Query(ctx, `SELECT event, webhook, number, at, micros, class, status, coalesce(response, ''), coalesce(error, ''),
			coalesce(dns, 0), coalesce(connect, 0), coalesce(tls, 0), coalesce(first_byte, 0)
		FROM attempt WHERE event = $1 AND ($2::bigint = 0 OR webhook = $2) ORDER BY webhook, at, number`, event, webhook)
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Attempt, error) {
		var a Attempt
		var took, dns, connect, tls, first int64
		err := row.Scan(&a.Event, &a.Webhook, &a.Number, &a.At, &took, &a.Class, &a.Status, &a.Response, &a.Error, &dns, &connect, &tls, &first)
		micros := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
		a.At, a.Duration = a.At.UTC(), micros(took)
		a.Phases = Phases{DNS: micros(dns), Connect: micros(connect), TLS: micros(tls), FirstByte: micros(first)}
		return a, err
	})
	if err != nil {
		return nil, fmt.Errorf("read attempts: %w", err)
	}
	return all, nil
}
