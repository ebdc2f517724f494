package ingest

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// survey is what must be read of the tables themselves, because the WAL does not have it: tables and columns that the mapping
// has gained, and tables whose rows may have changed unseen.
type SnapshotPlan struct {
	Catalog *cdc.Catalog
	Mapped  []*cdc.Table // all
	Missing []*cdc.Table // not mapped before: their rows are not changes
	// compared are those whose differences from the mirror are emitted. Of these, the rows of suspect ones may have changed without
	// the WAL saying so, and appeared ones, or columns of them, were absent.
	Compared, Suspect, Appeared []*cdc.Table
	MissingColumns              map[*cdc.Table][]int // columns of compared tables that were not mapped before
	RevivedColumns              map[*cdc.Table][]int // columns of compared tables that were absent
	// prints are the tables' fingerprints, taken before their rows are read: what changes later is seen later.
	Fingerprints map[string]string
	// relations are those that the mirror's rows are of.
	Relations map[*cdc.Table]uint32
}

// identities say which relation each table is in the WAL that is to be read. Position is that of the snapshot with which tables are
// compared, 0 if none is.
func (s *SnapshotPlan) Identities(asOf, position cdc.LSN) *cdc.Identities {
	i := &cdc.Identities{Tables: map[*cdc.Table]cdc.Identity{}, AsOf: asOf, SnapshotLSN: position}
	for _, t := range s.Mapped {
		oid := s.Catalog.OID(t)
		id := cdc.Identity{Before: s.Relations[t], After: oid, Compared: slices.Contains(s.Compared, t) || slices.Contains(s.Missing, t)}
		switch {
		case oid == 0 && s.Catalog.Exists(t): // withheld
			id.Before = 0
		case oid == 0: // nothing has its name, so it may have another one
			id.After = id.Before
		case slices.Contains(s.Missing, t):
			id.Before = 0
		}
		i.Tables[t] = id
	}
	return i
}

func (s *SnapshotPlan) Empty() bool { return len(s.Missing) == 0 && len(s.Compared) == 0 }

// has reports whether the database has the column.
func (s *SnapshotPlan) Has(t *cdc.Table, column int) bool {
	r := s.Catalog.Relation(t.Name)
	return r != nil && r.Types[column] != 0
}

// read is all that is read.
func (s *SnapshotPlan) Read() []*cdc.Table { return slices.Concat(s.Missing, s.Compared) }

// revive fills in what a row had in columns that were absent when the mirror last had it: what ADD COLUMN gave to the rows that were
// there. Whatever else the column has by now was written since.
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
