package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// WebhookChanges finds the webhooks that were changed since it last looked. The zero value finds all that were ever changed.
//
// Transactions become visible in another order than they took a number from a sequence, and one may stay open for hours. So a
// row carries the transaction that changed it, and each look goes back to the oldest transaction that was still running at the
// look before: what was not visible then has that number, or a greater one.
type WebhookChanges struct {
	horizon string          // the oldest transaction that was running at the last look; empty before the first
	seen    map[int64]int64 // versions by webhook, of those changed since the horizon
}

// Look returns what is new. A change may be returned twice, never missed.
func (c *WebhookChanges) Look(ctx context.Context, s *Store) ([]Webhook, error) {
	rows, err := s.pool.Query(ctx, `WITH now AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon)
		SELECT now.horizon::text, coalesce(w.id, 0), coalesce(w.version, 0) FROM now LEFT JOIN webhook w ON w.version > 0
			-- A server whose transactions are numbered from the beginning again, as one that was restored is, is read from the beginning.
			AND w.changed_by >= CASE WHEN now.horizon >= $1::text::xid8 THEN $1::text::xid8 ELSE '0' END`, orZeroXID(c.horizon))
	if err != nil {
		return nil, fmt.Errorf("look for changed webhooks: %w", err)
	}
	var horizon string
	var id, version int64
	var fresh []int64
	seen := map[int64]int64{}
	if _, err := pgx.ForEachRow(rows, []any{&horizon, &id, &version}, func() error {
		if id == 0 {
			return nil
		}
		seen[id] = version
		if known, ok := c.seen[id]; !ok || known != version {
			fresh = append(fresh, id)
		}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("look for changed webhooks: %w", err)
	}
	var changed []Webhook
	if len(fresh) > 0 {
		if changed, err = s.LoadWebhooksByID(ctx, fresh); err != nil {
			return nil, err
		}
	}
	c.horizon, c.seen = horizon, seen
	return changed, nil
}

func orZeroXID(xid string) string {
	if xid == "" {
		return "0"
	}
	return xid
}
