package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// StrictKey is the order key of all deliveries of a webhook with strict ordering.
const StrictKey = "*"

// ResourceKey is the order key of deliveries about a resource, for a webhook with ordering by resource.
func ResourceKey(resource string) string { return "r:" + indexed(resource) }

// DueRetry is a retry that is due, and claimed.
type DueRetry struct {
	Event
	Webhook  int64
	Attempts int
	Key      string
	// Expired: the event is past retention and cannot be sent any more.
	Expired bool
}

// claimable is true for a retry p that no running relay has leased, and that no earlier retry with the same order key blocks. A dead retry
// blocks later ones only with strict ordering.
const claimable = `(p.lease IS NULL OR NOT EXISTS (SELECT FROM member m WHERE m.id = p.lease))
	AND (p.order_key IS NULL OR NOT EXISTS (SELECT FROM retry q WHERE q.webhook = p.webhook AND q.order_key = p.order_key AND q.event < p.event
		AND (q.due < 'infinity' OR q.order_key = '` + StrictKey + `')))`

const dueColumns = `c.webhook, c.attempts, coalesce(c.order_key, ''), e.id IS NULL, c.event, coalesce(e.webhook_id, ''), coalesce(e.name, ''),
	coalesce(e.tenant, ''), coalesce(e.resource, ''), coalesce(e.occurred, 'epoch'), coalesce(e.body, ''), coalesce(e.reconciled, false)`

// Claim bounds the retries that ClaimDue leases.
type Claim struct {
	// Leads: the member leads, and so serves the live webhooks.
	Leads bool
	// Limit and PerWebhook bound the number of retries, in all and per webhook, and Bytes the size of their bodies. At least one is claimed.
	Limit, PerWebhook, Bytes int
	// Except are webhooks whose retries are not claimed.
	Except []int64
}

// claimDue finds the webhooks that have retries with a loose index scan over retry_webhook_due, so that its cost does not depend on the number
// of retries. Tenants take turns, and so do the webhooks of a tenant. If more retries are due than may be claimed, the choice is random, so
// that none waits for long.
const claimDue = `
WITH RECURSIVE first AS (
	(SELECT webhook, due FROM retry WHERE due < 'infinity' ORDER BY webhook, due LIMIT 1)
	UNION ALL
	SELECT n.webhook, n.due FROM first CROSS JOIN LATERAL (
		SELECT webhook, due FROM retry WHERE due < 'infinity' AND webhook > first.webhook ORDER BY webhook, due LIMIT 1
	) AS n
), ranked AS (
	SELECT w.id, row_number() OVER (PARTITION BY w.tenant ORDER BY random()) AS turn, count(*) OVER () AS webhooks
	FROM first JOIN webhook w ON w.id = first.webhook
	WHERE first.due <= now() AND w.id <> ALL ($4) AND w.enabled
		AND (w.lease = $1 OR $5 AND w.cursor IS NULL OR NOT w.exclusive AND w.paused_until IS NULL)
), due AS (
	SELECT p.event, p.webhook, p.due, r.turn FROM (SELECT * FROM ranked ORDER BY turn, random()) AS r CROSS JOIN LATERAL (
		SELECT p.event, p.webhook, p.due FROM retry p WHERE p.webhook = r.id AND p.due <= now() AND ` + claimable + `
		ORDER BY p.due LIMIT least($3::bigint, greatest(1, $2::bigint / r.webhooks)) FOR UPDATE OF p SKIP LOCKED
	) AS p LIMIT $2
), sized AS (
	SELECT due.event, due.webhook, sum(coalesce(octet_length(e.body), 0)) OVER (ORDER BY due.turn, due.due, due.webhook, due.event)
		- coalesce(octet_length(e.body), 0) AS before
	FROM due LEFT JOIN event e ON e.id = due.event
), c AS (
	UPDATE retry p SET lease = $1 FROM sized WHERE sized.before < $6 AND p.event = sized.event AND p.webhook = sized.webhook
	RETURNING p.event, p.webhook, p.attempts, p.due, p.order_key
)
SELECT ` + dueColumns + ` FROM c LEFT JOIN event e ON e.id = c.event ORDER BY c.due`

// ClaimDue leases retries that are due, shared fairly among tenants and their webhooks, earliest first. Retries of an exclusive webhook, or of
// a paused one, are leased only to the relay that serves it.
func (m *Member) ClaimDue(ctx context.Context, c Claim) ([]DueRetry, error) {
	rows, err := m.store.pool.Query(ctx, claimDue, m.id, c.Limit, c.PerWebhook, c.Except, c.Leads, c.Bytes)
	return collectDue(rows, err)
}

// ClaimOldest leases the webhook's oldest retry that is not dead, due or not; nil if there is none.
func (m *Member) ClaimOldest(ctx context.Context, webhook int64) (*DueRetry, error) {
	rows, err := m.store.pool.Query(ctx, `WITH oldest AS (
			SELECT p.event, p.webhook FROM retry p WHERE p.webhook = $2 AND p.due < 'infinity' AND `+claimable+`
			ORDER BY p.event LIMIT 1 FOR UPDATE OF p SKIP LOCKED
		), c AS (
			UPDATE retry p SET lease = $1 FROM oldest WHERE p.event = oldest.event AND p.webhook = oldest.webhook
			RETURNING p.event, p.webhook, p.attempts, p.due, p.order_key
		)
		SELECT `+dueColumns+` FROM c LEFT JOIN event e ON e.id = c.event`, m.id, webhook)
	due, err := collectDue(rows, err)
	if err != nil || len(due) == 0 {
		return nil, err
	}
	return &due[0], nil
}

func collectDue(rows pgx.Rows, err error) ([]DueRetry, error) {
	if err != nil {
		return nil, fmt.Errorf("claim retries: %w", err)
	}
	due, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (DueRetry, error) {
		var d DueRetry
		err := row.Scan(&d.Webhook, &d.Attempts, &d.Key, &d.Expired, &d.ID, &d.WebhookID, &d.Name, &d.Tenant, &d.Resource, &d.Occurred, &d.Body, &d.Reconciled)
		return d, err
	})
	if err != nil {
		return nil, fmt.Errorf("claim retries: %w", err)
	}
	return due, nil
}

// Blocked counts the retries that block later deliveries, by webhook and order key.
func (s *Store) Blocked(ctx context.Context, webhooks []int64) (map[int64]map[string]int, error) {
	rows, err := s.pool.Query(ctx, `SELECT webhook, order_key, count(*) FROM retry WHERE webhook = ANY ($1)
		AND (order_key LIKE 'r:%' AND due < 'infinity' OR order_key = '`+StrictKey+`') GROUP BY webhook, order_key`, webhooks)
	if err != nil {
		return nil, fmt.Errorf("count retries that block others: %w", err)
	}
	blocked := map[int64]map[string]int{}
	var id int64
	var key string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &key, &n}, func() error {
		if blocked[id] == nil {
			blocked[id] = map[string]int{}
		}
		blocked[id][key] = n
		return nil
	}); err != nil {
		return nil, fmt.Errorf("count retries that block others: %w", err)
	}
	return blocked, nil
}

// RetryCount is the number of a webhook's failed deliveries that will be tried again, and that are dead.
type RetryCount struct{ Waiting, Dead int }

// RetryCounts counts the failed deliveries by webhook.
func (s *Store) RetryCounts(ctx context.Context) (map[int64]RetryCount, error) {
	rows, err := s.pool.Query(ctx, `SELECT webhook, count(*) FILTER (WHERE due < 'infinity'), count(*) FILTER (WHERE due = 'infinity')
		FROM retry GROUP BY webhook`)
	if err != nil {
		return nil, fmt.Errorf("count retries: %w", err)
	}
	counts := map[int64]RetryCount{}
	var id int64
	var c RetryCount
	if _, err := pgx.ForEachRow(rows, []any{&id, &c.Waiting, &c.Dead}, func() error { counts[id] = c; return nil }); err != nil {
		return nil, fmt.Errorf("count retries: %w", err)
	}
	return counts, nil
}
