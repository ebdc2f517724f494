package cdc

import (
	"errors"
	"fmt"
	"strings"
)

// The errors that can end a stream or refuse a slot. The text that wraps one of them ends with the remedy; IsTransient says
// which of them are transient.
var (
	// ErrStalled: the consumer took no transaction for StallLimit. The connection was closed because the server could not have shut
	// down otherwise.
	ErrStalled = errors.New("ingestion accepted no transaction in time")
	// ErrServerShutdown: the server is shutting down, or an administrator ended the connection.
	ErrServerShutdown = errors.New("the server is closing its connections")
	// ErrServerSilent: the server sent nothing for a minute, although it was asked to reply.
	ErrServerSilent = errors.New("the server does not respond")
	// ErrSpill: the temporary file of a large transaction failed, for example because the disk is full.
	ErrSpill = errors.New("temporary file of a large transaction failed")
	// ErrSlotActive: another process is streaming from the slot.
	ErrSlotActive = errors.New("the replication slot is in use by another process")
	// ErrSlotMissing: the slot does not exist.
	ErrSlotMissing = errors.New("the replication slot does not exist")
	// ErrSlotForeign: the slot belongs to another program.
	ErrSlotForeign = errors.New("the replication slot belongs to another program")
	// ErrSlotLost: the server has removed WAL that the slot needed.
	ErrSlotLost = errors.New("the replication slot is lost")
	// ErrServerChanged: the replication connection reached another server than the one that was inspected, or one that was promoted
	// since.
	ErrServerChanged = errors.New("the replication connection reached a different server than before")
	// ErrSnapshotGone: the tables can no longer be read as of the snapshot.
	ErrSnapshotGone = errors.New("the snapshot is no longer readable")
	// ErrCatalogChanged: a table or column was dropped while the catalog was read.
	ErrCatalogChanged = errors.New("the schema changed while it was read; try again")
	// ErrSlotExists: the slot to be created exists already.
	ErrSlotExists = errors.New("the replication slot already exists")
	// ErrPublicationMissing: the publication did not exist at some point of the WAL that is still to be read.
	ErrPublicationMissing = errors.New("the publication does not exist at this point of the WAL")
)

// SchemaError reports that a table, as the WAL describes it, no longer fits the mapping.
type SchemaError struct {
	Table  string // schema.name
	Column string // empty if it is about the table as a whole
	LSN    LSN    // of the first change that could not be read
	Reason string // what is wrong and how to fix it
}

func (e *SchemaError) Error() string {
	if e.Column == "" {
		return fmt.Sprintf("table %s at %s: %s", e.Table, e.LSN, e.Reason)
	}
	return fmt.Sprintf("table %s, column %s at %s: %s", e.Table, e.Column, e.LSN, e.Reason)
}

// at returns the error with its position in the WAL.
func (e *SchemaError) at(lsn LSN) *SchemaError {
	placed := *e
	placed.LSN = lsn
	return &placed
}

// DecodeError reports a message of the replication stream that could not be decoded. Nothing is skipped: after a restart the server
// sends the same message again.
type DecodeError struct {
	LSN   LSN    // of the message; 0 if the server sends none
	Table string // schema.name; empty if unknown
	Err   error
}

func (e *DecodeError) Error() string {
	if e.Table == "" {
		return fmt.Sprintf("decode the WAL at %s: %v", e.LSN, e.Err)
	}
	return fmt.Sprintf("decode the WAL at %s, table %s: %v", e.LSN, e.Table, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// PermissionError reports an action that needs another role.
type PermissionError struct {
	Action string
	RunAs  string   // the role that is allowed to do it, for a person to read
	SQL    []string // the statements for them to run
	Err    error
}

func (e *PermissionError) Error() string {
	return fmt.Sprintf("%s: %v; ask %s to run: %s", e.Action, e.Err, e.RunAs, strings.Join(e.SQL, " "))
}

func (e *PermissionError) Unwrap() error { return e.Err }
