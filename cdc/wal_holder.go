package cdc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// WALHolder is the oldest transaction that has written and is still open. Decoding has to start before it, so the server retains
// the WAL from there on, whatever the relay has acknowledged.
type WALHolder struct {
	PID            int    // 0 for a prepared transaction
	Prepared       string // identifier of a prepared transaction, else empty
	User, Database string
	Application    string        // application_name of the session; empty if unset or not visible to the role
	State          string        // state of the session; empty if not visible to the role
	Age            time.Duration // 0 is unknown: not visible to the role
}

// String identifies the transaction for an operator.
func (h WALHolder) String() string {
	since := ""
	if h.Age > 0 {
		since = fmt.Sprintf(", open for %s", h.Age.Round(time.Second))
	}
	if h.PID == 0 {
		return fmt.Sprintf("the prepared transaction %q of user %s in database %s%s", h.Prepared, h.User, h.Database, since)
	}
	if h.State != "" {
		since += ", " + h.State
	}
	application := ""
	if h.Application != "" {
		application = fmt.Sprintf(", application %q", h.Application)
	}
	return fmt.Sprintf("the transaction of process %d, user %s, database %s%s%s", h.PID, h.User, h.Database, application, since)
}

// Fix says how to end the transaction.
func (h WALHolder) Fix() string {
	if h.PID == 0 {
		return "end it with COMMIT PREPARED or ROLLBACK PREPARED"
	}
	return fmt.Sprintf("wait for it to end, or run SELECT pg_terminate_backend(%d)", h.PID)
}

// Every role can see the lock that a writing transaction holds on its own id; pg_stat_activity hides the ids of other roles.
// https://www.postgresql.org/docs/current/view-pg-locks.html
const oldestWALHolder = `
SELECT coalesce(l.pid, 0), coalesce(p.gid, ''), coalesce(a.usename, p.owner, '')::text, coalesce(a.datname, p.database, '')::text, coalesce(a.state, ''), coalesce(a.application_name, ''),
       coalesce(extract(epoch FROM now() - coalesce(a.xact_start, p.prepared)), 0)::bigint
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid LEFT JOIN pg_prepared_xacts p ON p.transaction = l.transactionid
WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
ORDER BY age(l.transactionid) DESC LIMIT 1`

// OldestWALHolder finds the holder among all databases of the server; nil if there is none.
func OldestWALHolder(ctx context.Context, conn *pgx.Conn) (*WALHolder, error) {
	var h WALHolder
	var seconds int64
	err := conn.QueryRow(ctx, oldestWALHolder).Scan(&h.PID, &h.Prepared, &h.User, &h.Database, &h.State, &h.Application, &seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the oldest open transaction: %w", err)
	}
	h.Age = time.Duration(seconds) * time.Second
	return &h, nil
}

// WritingTransactions returns the ids of all open transactions that have written, in all databases of the server.
func WritingTransactions(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `SELECT transactionid::text FROM pg_locks WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted`)
	if err != nil {
		return nil, fmt.Errorf("list the writing transactions: %w", err)
	}
	xids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the writing transactions: %w", err)
	}
	return xids, nil
}
