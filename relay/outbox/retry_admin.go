package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// skippedByHand is the error of the attempt that stands for a delivery that was given up by hand.
const skippedByHand = "skipped by hand"

// RetryFilter chooses parked deliveries.
type RetryFilter struct {
	Event, Webhook int64  // 0 is any
	Class          string // of the last attempt; empty is any
	DeadOnly       bool
}

// Retry makes parked deliveries due now, with all their attempts before them, and tells the relays to look. It returns how
// many. One that is just being sent stays so. Those whose event retention has dropped are left: there is nothing to send.
func (s *Store) Retry(ctx context.Context, f RetryFilter) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, `WITH again AS (
			UPDATE retry SET due = now(), attempts = 0, order_key = CASE due WHEN 'infinity' THEN `+revivedKey+` ELSE order_key END
			WHERE ($1::bigint = 0 OR event = $1) AND ($2::bigint = 0 OR webhook = $2) AND ($3 = '' OR class = $3) AND (NOT $4 OR due = 'infinity')
				AND event IN (SELECT id FROM event WHERE $1::bigint = 0 OR id = $1)
			RETURNING webhook
		), told AS (
			UPDATE webhook SET version = nextval('webhook_version') WHERE id IN (SELECT webhook FROM again)
		) SELECT count(*) FROM again`, f.Event, f.Webhook, f.Class, f.DeadOnly).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("make parked deliveries due: %w", err)
	}
	return n, nil
}

// Skip gives a parked delivery up, says so in the history of attempts, and tells the relays to look. It reports whether there
// was one. The result of an attempt that is just being made may still park it again.
func (s *Store) Skip(ctx context.Context, event, webhook int64) (bool, error) {
	if err := s.ensureToday(ctx, "attempt"); err != nil { // no relay may have run today
		return false, err
	}
	var number int
	err := s.pool.QueryRow(ctx, `WITH gone AS (
			DELETE FROM retry WHERE event = $1 AND webhook = $2 RETURNING attempts
		), told AS (
			UPDATE webhook SET version = nextval('webhook_version') WHERE id = $2 AND EXISTS (SELECT FROM gone)
		)
		INSERT INTO attempt (day, event, webhook, number, at, micros, class, status, error)
		SELECT `+today+`, $1, $2, attempts + 1, clock_timestamp(), 0, 'canceled', 0, $3 FROM gone RETURNING number`,
		event, webhook, skippedByHand).Scan(&number)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("skip event %d: %w", event, err)
	}
	return true, nil
}
