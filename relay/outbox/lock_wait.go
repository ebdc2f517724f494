package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Wait is what a commit of ingest waits for.
type Wait struct {
	For time.Duration
	// PID, User and Application are those of the session that has the lock; PID is 0 for a prepared transaction.
	PID               int
	User, Application string
}

func (w Wait) String() string {
	if w.PID == 0 {
		return fmt.Sprintf("a commit of the outbox waits for %s behind a prepared transaction; end it (SELECT gid FROM pg_prepared_xacts)", w.For.Round(time.Second))
	}
	return fmt.Sprintf("a commit of the outbox waits for %s behind session %d (user %s, application %q), which has a lock; let its transaction end, or SELECT pg_terminate_backend(%d)",
		w.For.Round(time.Second), w.PID, w.User, w.Application, w.PID)
}

// A writer of ingest is told from those that record deliveries by the tables that it writes.
const ingestWait = `
SELECT extract(epoch FROM clock_timestamp() - a.query_start)::float8, coalesce(b.pid, 0), coalesce(b.usename, '')::text, coalesce(b.application_name, '')
FROM pg_stat_activity a LEFT JOIN LATERAL (SELECT * FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(a.pid)) ORDER BY pid LIMIT 1) b ON true
WHERE a.datname = current_database() AND a.application_name = 'iam-relay' AND a.wait_event_type = 'Lock'
  AND EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE l.pid = a.pid AND l.mode = 'RowExclusiveLock' AND n.nspname = $1 AND (c.relname IN ('position', 'mirror') OR c.relname LIKE 'event%'))
ORDER BY a.query_start LIMIT 1`

// IngestWait asks whether ingest, of whichever relay leads, waits for a lock; nil if it does not. What else has a lock on the
// outbox for long is somebody's open transaction, and holds up the source's log.
func (s *Store) IngestWait(ctx context.Context) (*Wait, error) {
	var w Wait
	var seconds float64
	err := s.pool.QueryRow(ctx, ingestWait, s.schema).Scan(&seconds, &w.PID, &w.User, &w.Application)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask what the outbox waits for: %w", err)
	}
	w.For = time.Duration(seconds * float64(time.Second))
	return &w, nil
}
