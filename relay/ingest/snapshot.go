package ingest

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// Snapshot is the IAM's tables as of one position.
type Snapshot struct {
	SnapshotRows
	LSN  cdc.LSN   // everything that committed before is visible
	Time time.Time // the server's clock when it was opened
}

// SnapshotRows reads the IAM's tables: *cdc.Snapshot.
type SnapshotRows interface {
	Copy(ctx context.Context, table *cdc.Table, each func(cdc.Row) error) error
	// Row returns the row with the key, or nil.
	Row(ctx context.Context, table *cdc.Table, key []string) (cdc.Row, error)
	Close()
}

// NewSnapshot returns the Snapshot of a source; nil for nil.
func NewSnapshot(s *cdc.Snapshot) *Snapshot {
	if s == nil {
		return nil
	}
	return &Snapshot{SnapshotRows: s, LSN: s.LSN, Time: s.Time}
}

// Catalog describes the tables as they exist in the IAM's database: *cdc.Catalog.
type Catalog interface {
	// Relation returns a mapped table by its name; nil if it is missing or counts as absent.
	Relation(table *cdc.Table) *cdc.Relation
	Exists(t *cdc.Table) bool
	OID(t *cdc.Table) uint32
	// AddedDefault returns the value that ADD COLUMN gave to the rows that existed.
	AddedDefault(t *cdc.Table, column int) cdc.Value
}
