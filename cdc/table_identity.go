package cdc

import "fmt"

// Identity says which relation of the database a mapped table is. A name does not: a table can be renamed, moved or replaced
// within a transaction, and the WAL has each row under the name of its time.
type Identity struct {
	// Before is the OID of the relation whose rows the consumer has; 0 if it has none.
	Before uint32
	// After is the OID of the relation that has the table's name in the catalog, or had it last; 0 if there is none.
	After uint32
	// Compared: the consumer compares the table with a snapshot as of Identities.SnapshotLSN. The comparison covers what cannot be
	// read before that.
	Compared bool
}

// Identities are the identities of all mapped tables, as known when streaming starts.
type Identities struct {
	Tables map[*Table]Identity
	// AsOf: the catalog was read after all WAL before this position was written.
	AsOf LSN
	// SnapshotLSN is the position of the consumer's snapshot: a transaction that commits before it is matched by Identity.Before, a
	// later one by Identity.After.
	SnapshotLSN LSN
}

// AlteredError ends a stream at a change that does not fit the catalog as it was read when the stream started. Nothing is
// skipped: the consumer has to read the catalog and stream again.
type AlteredError struct {
	Table *Table
	LSN   LSN // commit position of the transaction
	// Suspect: the WAL lacks values of the table's rows, so the table has to be compared with a snapshot.
	Suspect bool
	Text    string
}

func (e *AlteredError) Error() string {
	return fmt.Sprintf("table %s was altered before %s: %s", qualifiedName(e.Table), e.LSN, e.Text)
}
