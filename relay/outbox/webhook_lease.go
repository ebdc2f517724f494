package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Lagging is how the webhooks that catch up are spread over the members.
type Lagging struct {
	// Members is the number of running relays.
	Members int
	// Webhooks is the number of webhooks that are at least minLag events behind and not paused; this member serves Mine of them.
	Webhooks, Mine int
	// Others is the number of webhooks with a cursor that this member does not serve, however far behind they are.
	Others int
	// LastEvent is the newest event id.
	LastEvent int64
}

// Share is the number of Webhooks that each member should serve.
func (l Lagging) Share() int { return (l.Webhooks + max(l.Members, 1) - 1) / max(l.Members, 1) }

// Lagging counts the webhooks that catch up.
func (m *Member) Lagging(ctx context.Context, minLag int64) (Lagging, error) {
	var l Lagging
	err := m.store.pool.QueryRow(ctx, `SELECT (SELECT count(*) FROM member), count(w.id), count(w.id) FILTER (WHERE w.lease = $1), p.last_event,
			(SELECT count(*) FROM webhook WHERE cursor IS NOT NULL AND enabled AND lease IS DISTINCT FROM $1)
		FROM position p LEFT JOIN webhook w ON w.cursor <= p.last_event - $2 AND w.enabled AND (w.paused_until IS NULL OR w.paused_until < now())
		GROUP BY p.last_event`, m.id, minLag).Scan(&l.Members, &l.Webhooks, &l.Mine, &l.LastEvent, &l.Others)
	if err != nil {
		return l, fmt.Errorf("count webhooks that catch up: %w", err)
	}
	return l, nil
}

// Claim leases up to limit webhooks that have a cursor and that no running relay serves, furthest behind first. They are at least minLag
// and less than maxLag events behind.
func (m *Member) Claim(ctx context.Context, limit int, minLag, maxLag int64) ([]Webhook, error) {
	if limit <= 0 {
		return nil, nil
	}
	rows, err := m.store.pool.Query(ctx, `WITH free AS (
			SELECT w.id FROM webhook w CROSS JOIN position p
			WHERE w.cursor <= p.last_event - $3 AND w.cursor > p.last_event - $4 AND w.enabled
				AND (w.lease IS NULL OR NOT EXISTS (SELECT FROM member m WHERE m.id = w.lease))
			ORDER BY w.cursor LIMIT $2 FOR UPDATE OF w SKIP LOCKED
		) UPDATE webhook w SET lease = $1 FROM free WHERE w.id = free.id RETURNING `+webhookColumns, m.id, limit, minLag, maxLag)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks that catch up: %w", err)
	}
	webhooks, err := pgx.CollectRows(rows, m.store.scanWebhook)
	if err != nil {
		return nil, fmt.Errorf("claim webhooks that catch up: %w", err)
	}
	return webhooks, nil
}
