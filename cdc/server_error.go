package cdc

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATEs: https://www.postgresql.org/docs/current/errcodes-appendix.html
const (
	codeUndefinedObject   = "42704"
	codeDuplicateObject   = "42710"
	codeObjectInUse       = "55006"
	codeNotInState        = "55000"
	codeConfigLimit       = "53400"
	codeTooLarge          = "54000"
	codeTooManyClients    = "53300"
	codeNoPrivilege       = "42501"
	codeUndefinedTable    = "42P01"
	codeUniqueViolation   = "23505"
	codeDeadlock          = "40P01"
	codeInternal          = "XX000"
	codeUndefinedColumn   = "42703"
	codeUndefinedFunction = "42883"
	codeInvalidParameter  = "22023"
	codeAdminShutdown     = "57P01"
	codeCannotConnectNow  = "57P03"
	codeLockNotAvailable  = "55P03"
	codeInvalidPassword   = "28P01"
	codeInvalidAuthorizer = "28000"
	codeUndefinedDatabase = "3D000"
)

// explain adds to a server error which of the package's errors it is and how to resolve it. SQLSTATE 42704 does not say which
// object is missing, so the caller passes the error that stands for it.
func explain(err, missing error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return ExplainConnectError(err)
	}
	if pgErr.Code == codeTooLarge || strings.Contains(pgErr.Message, "invalid memory alloc request size") {
		return fmt.Errorf("%w; a row of a published table is larger than 1 GB as text (a bytea counts twice), including columns that are not mapped, and the server cannot send it: "+
			"store the value elsewhere, then start over as described in docs/operations.md under \"Starting over\"", err)
	}
	switch pgErr.Code {
	case codeObjectInUse:
		return fmt.Errorf("%w: %w; another relay is probably running, and this one takes over when it stops", ErrSlotActive, err)
	case codeUndefinedObject:
		switch {
		case errors.Is(missing, ErrSlotMissing):
			return fmt.Errorf("%w: %w; changes committed since it was dropped are in no slot and need a reconciliation", ErrSlotMissing, err)
		case errors.Is(missing, ErrPublicationMissing):
			return fmt.Errorf("%w: %w; recreating it does not recover past changes: those need a reconciliation", ErrPublicationMissing, err)
		}
	case codeDuplicateObject:
		return fmt.Errorf("%w: %w; choose another source.slot, or drop the slot if it is unused", ErrSlotExists, err)
	case codeNotInState:
		return explainState(err, pgErr)
	case codeConfigLimit:
		return fmt.Errorf("%w; raise max_replication_slots (requires a server restart) or drop an unused slot", err)
	case codeNoPrivilege:
		if _, connecting := errors.AsType[*pgconn.ConnectError](err); !connecting {
			return fmt.Errorf("%w; grant the role LOGIN and REPLICATION (on managed services: the provider's replication role)", err)
		}
	case codeAdminShutdown, codeCannotConnectNow:
		return fmt.Errorf("%w: %w", ErrServerShutdown, ExplainConnectError(err))
	}
	return ExplainConnectError(err)
}

// explainState distinguishes the causes of SQLSTATE 55000, which differ only in their texts.
func explainState(err error, pgErr *pgconn.PgError) error {
	switch text := pgErr.Message; {
	case strings.Contains(text, "cannot read from"), strings.Contains(text, "can no longer"):
		return fmt.Errorf("%w: %w; the server removed WAL that was not read yet (see max_slot_wal_keep_size and idle_replication_slot_timeout)", ErrSlotLost, err)
	case strings.Contains(text, "wal_level"):
		return fmt.Errorf("%w; set wal_level = logical and restart the server", err)
	case strings.Contains(text, "was not created in this database"):
		return fmt.Errorf("%w; the slot belongs to another database: choose another source.slot, or correct the URL", err)
	}
	return err
}
