package relay

import (
	"context"
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// survey is what must be read of the tables themselves, because the WAL does not have it: tables and columns that the mapping
// has gained, and tables whose rows may have changed unseen.
type survey struct {
	catalog *cdc.Catalog
	mapped  []*cdc.Table // all
	copied  []*cdc.Table // not mapped before: their rows are not changes
	// compared are those whose differences from the mirror are emitted. Of these, the rows of suspect ones may have changed without
	// the WAL saying so, and appeared ones, or columns of them, were absent.
	compared, suspect, appeared []*cdc.Table
	lacking                     map[*cdc.Table][]int // columns of compared tables that were not mapped before
	revived                     map[*cdc.Table][]int // columns of compared tables that were absent
	// prints are the tables' fingerprints, taken before their rows are read: what changes later is seen later.
	prints map[string]string
	// relations are those that the mirror's rows are of.
	relations map[*cdc.Table]uint32
}

// survey decides which tables must be read; with all, every one that the mirror holds is compared.
func (t *term) survey(ctx context.Context, found *source, all bool) (*survey, error) {
	s := &survey{
		catalog: found.catalog, mapped: t.rules.Tables(), prints: found.prints,
		lacking: map[*cdc.Table][]int{}, revived: map[*cdc.Table][]int{}, relations: map[*cdc.Table]uint32{},
	}
	if err := t.followRenamed(ctx, s); err != nil {
		return nil, err
	}
	mirrored, err := t.leader.Mirrored(ctx, s.mapped, found.owners, s.has)
	if err != nil {
		return nil, &ingestError{err}
	}
	var doubted []*cdc.Table
	moved := map[string]string{}
	for _, m := range mirrored {
		if m.Known {
			s.relations[m.Table] = cdc.FingerprintRelation(m.Fingerprint)
		}
		if s.catalog.Relation(m.Table.Name) == nil {
			continue // optional, and absent
		}
		suspect := m.Suspect || m.Fingerprint != "" && !cdc.Alike(m.Fingerprint, s.prints[m.Table.Name])
		switch {
		case !m.Known:
			s.copied = append(s.copied, m.Table)
			continue
		case !all && !suspect && m.Lacking == nil && m.Revived == nil:
			if now := s.prints[m.Table.Name]; now != m.Fingerprint {
				moved[m.Table.Name] = now
			}
			continue
		}
		s.compared, s.lacking[m.Table], s.revived[m.Table] = append(s.compared, m.Table), m.Lacking, m.Revived
		if suspect || all {
			s.suspect = append(s.suspect, m.Table)
		}
		if m.Revived != nil {
			s.appeared = append(s.appeared, m.Table)
		}
		if suspect {
			doubted = append(doubted, m.Table)
		}
	}
	if err := t.leader.SaveFingerprints(ctx, moved); err != nil {
		return nil, &ingestError{err}
	}
	// What the stream leaves out because it will be compared must be compared, whatever the catalogue says by then.
	if err := t.leader.Suspect(ctx, doubted...); err != nil {
		return nil, &ingestError{err}
	}
	return s, nil
}

// followRenamed gives what the mirror has of a table that was renamed, in the database and in the mapping, to its new name. Rows with
// secrets are encrypted for their place, and are copied instead.
func (t *term) followRenamed(ctx context.Context, s *survey) error {
	relations, err := t.store.Relations(ctx)
	if err != nil {
		return &ingestError{err}
	}
	mapped := map[string]bool{}
	for _, table := range s.mapped {
		mapped[table.Name] = true
	}
	for _, table := range s.mapped {
		oid := s.catalog.OID(table)
		if _, registered := relations[table.Name]; registered || oid == 0 || slices.ContainsFunc(table.Columns, func(c cdc.Column) bool { return c.Secret }) {
			continue
		}
		for name, relation := range relations {
			if relation != oid || mapped[name] {
				continue
			}
			if err := t.leader.Rename(ctx, name, table); err != nil {
				return &ingestError{err}
			}
			t.log.Info("a mapped table was renamed, and the mapping follows", "from", name, "to", table.Name)
		}
	}
	return nil
}

// identities say which relation each table is in the WAL that is to be read. Position is that of the snapshot with which tables are
// compared, 0 if none is.
func (s *survey) identities(asOf, position cdc.LSN) *cdc.Identities {
	i := &cdc.Identities{Tables: map[*cdc.Table]cdc.Identity{}, AsOf: asOf, Switch: position}
	for _, t := range s.mapped {
		oid := s.catalog.OID(t)
		id := cdc.Identity{Before: s.relations[t], After: oid, Compared: slices.Contains(s.compared, t) || slices.Contains(s.copied, t)}
		switch {
		case oid == 0 && s.catalog.Exists(t): // withheld
			id.Before = 0
		case oid == 0: // nothing has its name, so it may have another one
			id.After = id.Before
		case slices.Contains(s.copied, t):
			id.Before = 0
		}
		i.Tables[t] = id
	}
	return i
}

func (s *survey) empty() bool { return len(s.copied) == 0 && len(s.compared) == 0 }

// has reports whether the database has the column.
func (s *survey) has(t *cdc.Table, column int) bool {
	r := s.catalog.Relation(t.Name)
	return r != nil && r.Types[column] != 0
}

// read is all that is read.
func (s *survey) read() []*cdc.Table { return slices.Concat(s.copied, s.compared) }

// plan takes the snapshot that a survey's tables are read from, at a place that the log will reach.
func (t *term) plan(ctx context.Context, s *survey, record outbox.Reconciliation) (*reconciliation, error) {
	snapshot, err := t.snapshotSoon(ctx, copySlot(t.config.Source.Slot))
	if err != nil {
		return nil, fmt.Errorf("snapshot of tables that must be read again: %w", err)
	}
	return &reconciliation{survey: s, snapshot: snapshot, record: record}, nil
}

// copySlot names the temporary slot beside the relay's own. Names have 63 characters at most.
func copySlot(slot string) string {
	const suffix = "_copy"
	return slot[:min(len(slot), 63-len(suffix))] + suffix
}

// revive fills in what a row had in columns that were absent when the mirror last had it: what ADD COLUMN gave to the rows that were
// there. Whatever else the column has by now was written since.
func (s *survey) revive(t *cdc.Table, old, row cdc.Row) cdc.Row {
	if s == nil || old == nil {
		return old
	}
	filled := old
	for _, column := range s.revived[t] {
		if column < t.KeyColumns || old[column].Kind != cdc.Absent || !row[column].Known() {
			continue
		}
		if &filled[0] == &old[0] {
			filled = slices.Clone(old)
		}
		filled[column] = s.catalog.Missing(t, column)
	}
	return filled
}
