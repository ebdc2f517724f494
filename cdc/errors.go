package cdc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// What can end a stream or refuse a slot. Each error that wraps one of these says what to do about it; Retryable tells
// which pass by themselves.
var (
	// ErrStalled: the consumer took nothing for StallLimit, so the connection was closed. The server could not have shut
	// down otherwise.
	ErrStalled = errors.New("the consumer took no transaction for too long")
	// ErrServerShutdown: the server is shutting down, or somebody ended the connection on it.
	ErrServerShutdown = errors.New("the server ends its connections")
	// ErrServerSilent: the server answered nothing for a minute.
	ErrServerSilent = errors.New("the server does not answer")
	// ErrSpill: the temporary file of a large transaction failed, for example for want of room.
	ErrSpill = errors.New("the temporary file of a large transaction failed")
	// ErrSlotActive: somebody else streams from the slot.
	ErrSlotActive = errors.New("the replication slot is in use by another process")
	// ErrSlotMissing: there is no such slot.
	ErrSlotMissing = errors.New("the replication slot does not exist")
	// ErrSlotForeign: somebody else has made the slot.
	ErrSlotForeign = errors.New("the replication slot is somebody else's")
	// ErrSlotLost: the server has removed log that the slot needed.
	ErrSlotLost = errors.New("the replication slot is lost")
	// ErrServerChanged: the connection that was to stream leads to another server, or to one that was promoted meanwhile.
	ErrServerChanged = errors.New("another server answers than the one that was looked at")
	// ErrSnapshotGone: the tables can no longer be read as they were at the snapshot.
	ErrSnapshotGone = errors.New("the snapshot cannot be read any more")
	// ErrCatalogChanged: a table or column was dropped while the catalogue was read.
	ErrCatalogChanged = errors.New("the schema changed while it was read; try again")
	// ErrSlotExists: a slot to be created exists already.
	ErrSlotExists = errors.New("the replication slot exists already")
	// ErrPublicationMissing: at some point of the log that was still to be read, the publication did not exist.
	ErrPublicationMissing = errors.New("the publication does not exist at this point of the log")
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

// SchemaError says that a table, as the log describes it, can no longer be read as the mapping wants.
type SchemaError struct {
	Table  string // schema.name
	Column string // empty if the table as a whole is meant
	LSN    LSN    // of the first change that could not be read
	Reason string // what is wrong and what to do
}

func (e *SchemaError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("table %s at %s: %s", e.Table, e.LSN, e.Reason)
	}
	return fmt.Sprintf("table %s, column %s at %s: %s", e.Table, e.Column, e.LSN, e.Reason)
}

// at is the error at a place of the WAL.
func (e *SchemaError) at(lsn LSN) *SchemaError {
	placed := *e
	placed.LSN = lsn
	return &placed
}

// DecodeError says that a message of the log could not be understood. Nothing was skipped: the same message comes again
// after a restart.
type DecodeError struct {
	LSN   LSN    // of the message; 0 where the server sends none
	Table string // schema.name, if known
	Err   error
}

func (e *DecodeError) Error() string {
	if e.Table == "" {
		return fmt.Sprintf("decode the log at %s: %v", e.LSN, e.Err)
	}
	return fmt.Sprintf("decode the log at %s, table %s: %v", e.LSN, e.Table, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// PermissionError says that the role may not do something which another one can do for it.
type PermissionError struct {
	Action string
	Who    string   // can do it
	SQL    []string // what they have to run
	Err    error
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s: %v; let %s run: %s", e.Action, e.Err, e.Who, strings.Join(e.SQL, " "))
}

func (e *PermissionError) Unwrap() error { return e.Err }

// Retryable reports whether the error may pass without anybody doing anything: network failures, a server that restarts, a
// slot that another relay holds, a consumer that was too slow.
func Retryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	for _, final := range []error{ErrSlotMissing, ErrSlotForeign, ErrSlotLost, ErrSlotExists, ErrPublicationMissing} {
		if errors.Is(err, final) {
			return false
		}
	}
	for _, passing := range []error{ErrStalled, ErrServerShutdown, ErrServerSilent, ErrServerChanged, ErrSpill, ErrSlotActive, ErrSnapshotGone, ErrCatalogChanged} {
		if errors.Is(err, passing) {
			return true
		}
	}
	if _, ok := errors.AsType[*DecodeError](err); ok {
		return false
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := pgErr.Code[:min(2, len(pgErr.Code))]; {
		case pgErr.Code == codeConfigLimit: // all slots are taken: somebody has to free one
			return false
		case class == "08", class == "53", strings.HasPrefix(pgErr.Code, "57P"), pgErr.Code == codeLockNotAvailable:
			return true
		}
		return droppedMeanwhile(pgErr)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, context.DeadlineExceeded)
}

// droppedMeanwhile reports whether a statement met an object that another session was dropping or altering. The server has no code for
// that: its functions look at the catalogue as it is now, and find nothing where the statement's snapshot still has a row.
func droppedMeanwhile(err *pgconn.PgError) bool {
	return err.Code == codeInternal && (strings.HasPrefix(err.Message, "cache lookup failed for ") || strings.HasPrefix(err.Message, "could not open relation with OID ") ||
		strings.HasPrefix(err.Message, "tuple concurrently "))
}

// explain adds to an error of the server which of the package's errors it is, and what to do about it. The missing object
// of a 42704 depends on what was asked, so the caller names it.
func explain(err, missing error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return ConnectReason(err)
	}
	if pgErr.Code == codeTooLarge || strings.Contains(pgErr.Message, "invalid memory alloc request size") {
		return fmt.Errorf("%w; a row of a published table has more than 1 GB as text (a bytea counts twice), also in columns that are not mapped, and the server cannot send it: "+
			"make the application store it elsewhere, and begin anew as docs/operations.md says under \"When the slot is lost\"", err)
	}
	switch pgErr.Code {
	case codeObjectInUse:
		return fmt.Errorf("%w: %w; another relay may run, and this one takes over when that ends", ErrSlotActive, err)
	case codeUndefinedObject:
		switch {
		case errors.Is(missing, ErrSlotMissing):
			return fmt.Errorf("%w: %w; what was committed meanwhile is not in any slot", ErrSlotMissing, err)
		case errors.Is(missing, ErrPublicationMissing):
			return fmt.Errorf("%w: %w; to recreate it does not help for the past: what was committed meanwhile can only be found by a comparison", ErrPublicationMissing, err)
		}
	case codeDuplicateObject:
		return fmt.Errorf("%w: %w; choose another name, or drop it if nobody uses it", ErrSlotExists, err)
	case codeNotInState:
		return explainState(err, pgErr)
	case codeConfigLimit:
		return fmt.Errorf("%w; raise max_replication_slots (needs a restart of the server) or drop a slot that nobody uses", err)
	case codeNoPrivilege:
		if _, connecting := errors.AsType[*pgconn.ConnectError](err); !connecting {
			return fmt.Errorf("%w; the role needs LOGIN and REPLICATION (on managed services: the provider's replication role)", err)
		}
	case codeAdminShutdown, codeCannotConnectNow:
		return fmt.Errorf("%w: %w", ErrServerShutdown, ConnectReason(err))
	}
	return ConnectReason(err)
}

// explainState tells the cases of 55000 apart, for which the server has nothing but their texts.
func explainState(err error, pgErr *pgconn.PgError) error {
	switch text := pgErr.Message; {
	case strings.Contains(text, "cannot read from"), strings.Contains(text, "can no longer"):
		return fmt.Errorf("%w: %w; the server removed log that was not yet read (max_slot_wal_keep_size, or idle_replication_slot_timeout)", ErrSlotLost, err)
	case strings.Contains(text, "wal_level"):
		return fmt.Errorf("%w; set wal_level = logical and restart the server", err)
	case strings.Contains(text, "was not created in this database"):
		return fmt.Errorf("%w; the slot belongs to another database: use another slot name, or correct the URL", err)
	}
	return err
}
