package replication

import (
	"context"
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// plan decides which tables must be read from a snapshot; with all, every table in the mirror is compared.
func (t *Replicator) plan(ctx context.Context, found *sourceState, all bool) (*ingest.SnapshotPlan, error) {
	s := &ingest.SnapshotPlan{
		Catalog: found.catalog, Mapped: t.Rules.Tables(), Fingerprints: found.fingerprints,
		MissingColumns: map[*cdc.Table][]int{}, RevivedColumns: map[*cdc.Table][]int{}, Relations: map[*cdc.Table]uint32{},
	}
	if err := t.renameMirrored(ctx, s); err != nil {
		return nil, err
	}
	mirrored, err := t.Leader.Mirrored(ctx, s.Mapped, found.owners, s.Has)
	if err != nil {
		return nil, &ingestError{err}
	}
	var suspects []*cdc.Table
	moved := map[string]string{}
	for _, m := range mirrored {
		if m.Known {
			s.Relations[m.Table] = cdc.FingerprintRelation(m.Fingerprint)
		}
		if s.Catalog.Relation(m.Table) == nil {
			continue // optional and absent
		}
		suspect := m.Suspect || m.Fingerprint != "" && !cdc.FingerprintsMatch(m.Fingerprint, s.Fingerprints[m.Table.Name])
		switch {
		case !m.Known:
			s.Missing = append(s.Missing, m.Table)
			continue
		case !all && !suspect && m.Missing == nil && m.Revived == nil:
			if now := s.Fingerprints[m.Table.Name]; now != m.Fingerprint {
				moved[m.Table.Name] = now
			}
			continue
		}
		s.Compared, s.MissingColumns[m.Table], s.RevivedColumns[m.Table] = append(s.Compared, m.Table), m.Missing, m.Revived
		if suspect || all {
			s.Suspect = append(s.Suspect, m.Table)
		}
		if m.Revived != nil {
			s.Appeared = append(s.Appeared, m.Table)
		}
		if suspect {
			suspects = append(suspects, m.Table)
		}
	}
	if err := t.Leader.SaveFingerprints(ctx, moved); err != nil {
		return nil, &ingestError{err}
	}
	// The stream leaves out changes of suspect tables, so they must be compared even if a later session finds the catalog in order.
	if err := t.Leader.Suspect(ctx, suspects...); err != nil {
		return nil, &ingestError{err}
	}
	return s, nil
}

// renameMirrored renames the mirror of tables that were renamed both in the database and in the mapping, so that they need not be read.
// A table with secrets is read instead: its stored rows can be decrypted only under the old name.
func (t *Replicator) renameMirrored(ctx context.Context, s *ingest.SnapshotPlan) error {
	relations, err := t.Store.Relations(ctx)
	if err != nil {
		return &ingestError{err}
	}
	mapped := map[string]bool{}
	for _, table := range s.Mapped {
		mapped[table.Name] = true
	}
	for _, table := range s.Mapped {
		oid := s.Catalog.OID(table)
		if _, registered := relations[table.Name]; registered || oid == 0 || slices.ContainsFunc(table.Columns, func(c cdc.Column) bool { return c.Secret }) {
			continue
		}
		for name, relation := range relations {
			if relation != oid || mapped[name] {
				continue
			}
			if err := t.Leader.Rename(ctx, name, table); err != nil {
				return &ingestError{err}
			}
			t.Log.Info("a table was renamed in the database and in the mapping; keeping its mirror", "from", name, "to", table.Name)
		}
	}
	return nil
}

// planReconciliation takes a snapshot for the plan's tables, at a position that the stream will reach. Without a Snapshot in the result,
// open transactions prevent it for now.
func (t *Replicator) planReconciliation(ctx context.Context, s *ingest.SnapshotPlan, record outbox.Reconciliation) (*ingest.Reconciliation, error) {
	snapshot, err := t.trySnapshot(ctx, copySlot(t.Settings.Source.Slot))
	if err != nil {
		return nil, fmt.Errorf("take a snapshot of the tables to read: %w", err)
	}
	r := &ingest.Reconciliation{SnapshotPlan: s, Snapshot: ingest.NewSnapshot(snapshot), Record: record}
	if r.Pending() {
		r.Current = cdc.ReadCurrent(string(t.Settings.Source.URL))
	}
	return r, nil
}

// copySlot returns the name of the temporary slot that exports a snapshot. A slot's name has at most 63 characters.
func copySlot(slot string) string {
	const suffix = "_copy"
	return slot[:min(len(slot), 63-len(suffix))] + suffix
}
