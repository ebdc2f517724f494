package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// readSpan bounds the range of event ids of one query.
const readSpan = 20000

// Read selects events of a webhook.
type Read struct {
	Webhook        int64
	After, Through int64 // range of event ids, without After
	// Limit and Bytes bound the number of events and the size of their bodies. At least one event is read.
	Limit, Bytes int
	// WithoutBody are events that are returned without their bodies, and do not count toward Bytes.
	WithoutBody []int64
	// MaxBody is the largest body that is read; 0 for no limit.
	MaxBody int64
}

const readEvents = `
SELECT id, webhook_id, name, tenant, resource, occurred, CASE WHEN size > 1 THEN body END, length, reconciled, wanted FROM (
	SELECT *, sum(size) OVER (ORDER BY id) AS total, count(*) OVER () AS wanted FROM (
		SELECT id, webhook_id, name, coalesce(tenant, '') AS tenant, resource, occurred, body, reconciled,
			coalesce(octet_length(body), 0) AS length,
			CASE WHEN id = ANY ($6) THEN 0 WHEN body IS NULL OR $7::bigint > 0 AND octet_length(body) > $7::bigint THEN 1 ELSE octet_length(body) END AS size
		FROM event WHERE id > $1 AND id <= $2 AND $3 = ANY (webhooks) ORDER BY id LIMIT $4
	) AS e
) AS e WHERE total - size < $5 ORDER BY id`

// ReadEvents returns events of a webhook in the order of their ids, and the id through which the range was read. The query adds up the sizes
// of bodies before it reads them, so the server sends no more than Bytes.
func (s *Store) ReadEvents(ctx context.Context, r Read) ([]Event, int64, error) {
	through := min(r.Through, r.After+readSpan)
	rows, err := s.pool.Query(ctx, readEvents, r.After, through, r.Webhook, r.Limit, r.Bytes, r.WithoutBody, r.MaxBody)
	if err != nil {
		return nil, 0, fmt.Errorf("read the event log: %w", err)
	}
	wanted := 0
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Event, error) {
		var e Event
		err := row.Scan(&e.ID, &e.WebhookID, &e.Name, &e.Tenant, &e.Resource, &e.Occurred, &e.Body, &e.Length, &e.Reconciled, &wanted)
		return e, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the event log: %w", err)
	}
	if len(events) > 0 && (wanted == r.Limit || len(events) < wanted) {
		through = events[len(events)-1].ID
	}
	return events, through, nil
}
