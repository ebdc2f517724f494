package cdc

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsTransient reports whether the error is transient and the operation may succeed if it is repeated: network failures, a
// restarting server, a slot held by another relay, a consumer that was too slow. It is false for nil and for context.Canceled.
func IsTransient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	for _, final := range []error{ErrSlotMissing, ErrSlotForeign, ErrSlotLost, ErrSlotExists, ErrPublicationMissing} {
		if errors.Is(err, final) {
			return false
		}
	}
	for _, transient := range []error{ErrStalled, ErrServerShutdown, ErrServerSilent, ErrServerChanged, ErrSpill, ErrSlotActive, ErrSnapshotGone, ErrCatalogChanged} {
		if errors.Is(err, transient) {
			return true
		}
	}
	if _, ok := errors.AsType[*DecodeError](err); ok {
		return false
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch class := pgErr.Code[:min(2, len(pgErr.Code))]; {
		case pgErr.Code == codeConfigLimit: // all slots are in use until an operator frees one
			return false
		case class == "08", class == "53", strings.HasPrefix(pgErr.Code, "57P"), pgErr.Code == codeLockNotAvailable:
			return true
		}
		return concurrentlyDropped(pgErr)
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

// concurrentlyDropped reports whether a statement met an object that another session was dropping or altering. The server
// reports that as an internal error: its functions read the current catalog, which no longer has the row that the statement's
// snapshot has.
func concurrentlyDropped(err *pgconn.PgError) bool {
	return err.Code == codeInternal && (strings.HasPrefix(err.Message, "cache lookup failed for ") || strings.HasPrefix(err.Message, "could not open relation with OID ") ||
		strings.HasPrefix(err.Message, "tuple concurrently "))
}
