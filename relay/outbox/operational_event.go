package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// OperationalEvent is an operational event: something that happened to a webhook or a delivery, and that webhooks may subscribe to.
type OperationalEvent struct {
	ID      int64
	At      time.Time
	Webhook int64
	Name    string
	Event   int64 // whose delivery it is about; 0 for none
	Data    json.RawMessage
}

// OperationalEvents returns the oldest operational events that are not in the event log yet.
func (s *Store) OperationalEvents(ctx context.Context, limit int) ([]OperationalEvent, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, at, webhook, name, coalesce(event, 0), data::text FROM operational_event ORDER BY id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("read operational events: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (n OperationalEvent, err error) {
		var data string
		err = row.Scan(&n.ID, &n.At, &n.Webhook, &n.Name, &n.Event, &data)
		n.Data = json.RawMessage(data)
		return n, err
	})
}
