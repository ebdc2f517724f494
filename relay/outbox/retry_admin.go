package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// skippedManually is the error of the attempt that records a skipped delivery.
const skippedManually = "skipped manually"

// RetryFilter selects retries.
type RetryFilter struct {
	Event, Webhook int64  // 0 for any
	Class          string // of the last attempt; empty for any
	DeadOnly       bool
}

// Retry makes failed deliveries due now, with the whole schedule ahead of them, and returns their number. One that is being sent keeps its
// lease. Deliveries of events past retention are left out.
func (s *Store) Retry(ctx context.Context, f RetryFilter) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, `WITH retried AS (
			UPDATE retry SET due = now(), attempts = 0, order_key = CASE due WHEN 'infinity' THEN `+revivedKey+` ELSE order_key END
			WHERE ($1::bigint = 0 OR event = $1) AND ($2::bigint = 0 OR webhook = $2) AND ($3 = '' OR class = $3) AND (NOT $4 OR due = 'infinity')
				AND event IN (SELECT id FROM event WHERE $1::bigint = 0 OR id = $1)
			RETURNING webhook
		), notified AS (
			UPDATE webhook SET version = nextval('webhook_version') WHERE id IN (SELECT webhook FROM retried)
		) SELECT count(*) FROM retried`, f.Event, f.Webhook, f.Class, f.DeadOnly).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("make retries due: %w", err)
	}
	return n, nil
}

// Retryable returns how many deliveries Retry would make due.
func (s *Store) Retryable(ctx context.Context, f RetryFilter) (n int64, err error) {
	err = s.pool.QueryRow(ctx, `SELECT count(*) FROM retry
		WHERE ($1::bigint = 0 OR event = $1) AND ($2::bigint = 0 OR webhook = $2) AND ($3 = '' OR class = $3) AND (NOT $4 OR due = 'infinity')
			AND event IN (SELECT id FROM event WHERE $1::bigint = 0 OR id = $1)`, f.Event, f.Webhook, f.Class, f.DeadOnly).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count retries: %w", err)
	}
	return n, nil
}

// Skip drops a retry and records that as an attempt. It reports whether there was a retry. An attempt that is in progress may store it
// again.
func (s *Store) Skip(ctx context.Context, event, webhook int64) (bool, error) {
	if err := s.ensureToday(ctx, "attempt"); err != nil { // perhaps no relay has run today
		return false, err
	}
	var number int
	err := s.pool.QueryRow(ctx, `WITH skipped AS (
			DELETE FROM retry WHERE event = $1 AND webhook = $2 RETURNING attempts
		), notified AS (
			UPDATE webhook SET version = nextval('webhook_version') WHERE id = $2 AND EXISTS (SELECT FROM skipped)
		)
		INSERT INTO attempt (day, event, webhook, number, at, micros, class, status, error)
		SELECT `+today+`, $1, $2, attempts + 1, clock_timestamp(), 0, 'canceled', 0, $3 FROM skipped RETURNING number`,
		event, webhook, skippedManually).Scan(&number)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("skip event %d: %w", event, err)
	}
	return true, nil
}
