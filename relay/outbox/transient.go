package outbox

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
)

// IsTransient reports whether an error of the outbox may pass by itself: the database restarts, the network fails, another relay
// leads now, or two transactions were in conflict.
func IsTransient(err error) bool {
	if errors.Is(err, ErrFenced) || cdc.IsTransient(err) {
		return true
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case "40001", "40P01", "55P03", "57014", "25P03", "25P02": // serialization, deadlock, lock or statement timeout, idle in transaction
			return true
		}
		return false
	}
	return pgconn.SafeToRetry(err) || pgconn.Timeout(err) || errors.Is(err, pgconn.ErrConnClosed)
}
