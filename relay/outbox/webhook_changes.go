package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// WebhookChanges polls for webhooks that were changed since the last poll. The first poll of the zero value returns all that were ever
// changed.
//
// Transactions do not become visible in the order of their sequence numbers, and one may stay open for hours. So a row has the id of the
// transaction that changed it, and each poll goes back to the oldest transaction that was running at the poll before: a change that was not
// visible then has that id or a higher one.
type WebhookChanges struct {
	horizon string          // the oldest transaction that was running at the last poll; empty before the first
	seen    map[int64]int64 // versions of the webhooks that were changed since the horizon
}

// ChangedWebhooks polls for webhooks that were changed since c was last used. It may return a change twice, but misses none.
func (s *Store) ChangedWebhooks(ctx context.Context, c *WebhookChanges) ([]Webhook, error) {
	rows, err := s.pool.Query(ctx, `WITH now AS (SELECT pg_snapshot_xmin(pg_current_snapshot()) AS horizon)
		SELECT now.horizon::text, coalesce(w.id, 0), coalesce(w.version, 0) FROM now LEFT JOIN webhook w ON w.version > 0
			-- Transaction ids that went back, as after a restore into a new server, start over.
			AND w.changed_by >= CASE WHEN now.horizon >= $1::text::xid8 THEN $1::text::xid8 ELSE '0' END`, orZeroXID(c.horizon))
	if err != nil {
		return nil, fmt.Errorf("poll for changed webhooks: %w", err)
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
		return nil, fmt.Errorf("poll for changed webhooks: %w", err)
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
