package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// LockWait describes an ingest commit that waits for a lock.
type LockWait struct {
	For time.Duration
	// PID, User and Application identify the session that holds the lock. PID is 0 for a prepared transaction.
	PID               int
	User, Application string
}

func (w LockWait) String() string {
	if w.PID == 0 {
		return fmt.Sprintf("an outbox commit has waited %s for a lock of a prepared transaction; find it in pg_prepared_xacts and end it", w.For.Round(time.Second))
	}
	return fmt.Sprintf("an outbox commit has waited %s for a lock of session %d (user %s, application %q); end its transaction, or run SELECT pg_terminate_backend(%d)",
		w.For.Round(time.Second), w.PID, w.User, w.Application, w.PID)
}

// Ingest sessions are those that write position, mirror or event; delivery sessions write other tables.
const ingestWait = `
SELECT extract(epoch FROM clock_timestamp() - a.query_start)::float8, coalesce(b.pid, 0), coalesce(b.usename, '')::text, coalesce(b.application_name, '')
FROM pg_stat_activity a LEFT JOIN LATERAL (SELECT * FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(a.pid)) ORDER BY pid LIMIT 1) b ON true
WHERE a.datname = current_database() AND a.application_name = 'iam-relay' AND a.wait_event_type = 'Lock'
  AND EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = a.pid AND l.mode = 'RowExclusiveLock' AND n.nspname = $1 AND (c.relname IN ('position', 'mirror') OR c.relname LIKE 'event%'))
ORDER BY a.query_start LIMIT 1`

// IngestWait returns the lock that the leading relay's ingest commit waits for, or nil. Such a wait, for a transaction left open in the
// outbox, makes the IAM's server retain WAL.
func (s *Store) IngestWait(ctx context.Context) (*LockWait, error) {
	var w LockWait
	var seconds float64
	err := s.pool.QueryRow(ctx, ingestWait, s.schema).Scan(&seconds, &w.PID, &w.User, &w.Application)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for lock waits in the outbox: %w", err)
	}
	w.For = time.Duration(seconds * float64(time.Second))
	return &w, nil
}
