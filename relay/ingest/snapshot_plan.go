package ingest

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// SnapshotPlan lists what must be read from the tables because the WAL does not have it: tables and columns that are new in the mapping, and
// tables whose rows may have changed outside the replication stream.
type SnapshotPlan struct {
	Catalog Catalog
	Mapped  []*cdc.Table // all mapped tables
	Missing []*cdc.Table // tables that the mirror does not have; they are copied without events
	// Compared are the tables whose differences from the mirror are emitted.
	Compared []*cdc.Table
	Suspect  []*cdc.Table // of Compared: rows may have changed outside the replication stream
	Appeared []*cdc.Table // of Compared: the optional table, or columns of it, did not exist before

	MissingColumns map[*cdc.Table][]int // of Compared: columns that were not mapped before
	RevivedColumns map[*cdc.Table][]int // of Compared: optional columns that did not exist before
	// Fingerprints of the tables, by name, are taken before their rows are read, so that a later change is noticed later.
	Fingerprints map[string]string
	// Relations are the OIDs of the tables from which the mirror's rows come.
	Relations map[*cdc.Table]uint32
}

// Identities returns which relation each table is in the WAL from now on. asOf is the present end of the WAL, position the LSN of the
// snapshot with which tables are compared, 0 if there is none.
func (s *SnapshotPlan) Identities(asOf, position cdc.LSN) *cdc.Identities {
	i := &cdc.Identities{Tables: map[*cdc.Table]cdc.Identity{}, AsOf: asOf, SnapshotLSN: position}
	for _, t := range s.Mapped {
		oid := s.Catalog.OID(t)
		id := cdc.Identity{Before: s.Relations[t], After: oid, Compared: slices.Contains(s.Compared, t) || slices.Contains(s.Missing, t)}
		switch {
		case oid == 0 && s.Catalog.Exists(t): // withheld
			id.Before = 0
		case oid == 0: // no table has the name, so it may have been renamed
			id.After = id.Before
		case slices.Contains(s.Missing, t):
			id.Before = 0
		}
		i.Tables[t] = id
	}
	return i
}

// Empty reports whether nothing must be read.
func (s *SnapshotPlan) Empty() bool { return len(s.Missing) == 0 && len(s.Compared) == 0 }

// Has reports whether the database has the column and the relay can read it.
func (s *SnapshotPlan) Has(t *cdc.Table, column int) bool {
	r := s.Catalog.Relation(t)
	return r != nil && r.Types[column] != 0
}

// Read returns all tables that must be read.
func (s *SnapshotPlan) Read() []*cdc.Table { return slices.Concat(s.Missing, s.Compared) }

// revive fills in the old values of columns that did not exist when the mirror stored the row: the default that ADD COLUMN gave to existing
// rows. Any other value was written since.
func (s *SnapshotPlan) revive(t *cdc.Table, old, row cdc.Row) cdc.Row {
	if s == nil || old == nil {
		return old
	}
	filled := old
	for _, column := range s.RevivedColumns[t] {
		if column < t.KeyColumns || old[column].Kind != cdc.Absent || !row[column].Known() {
			continue
		}
		if &filled[0] == &old[0] {
			filled = slices.Clone(old)
		}
		filled[column] = s.Catalog.AddedDefault(t, column)
	}
	return filled
}
