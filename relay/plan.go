package relay

import (
	"context"
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// survey decides which tables must be read; with all, every one that the mirror holds is compared.
func (t *replicator) survey(ctx context.Context, found *source, all bool) (*survey, error) {
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
func (t *replicator) followRenamed(ctx context.Context, s *survey) error {
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

// plan takes the snapshot that a survey's tables are read from, at a place that the log will reach.
func (t *replicator) plan(ctx context.Context, s *survey, record outbox.Reconciliation) (*reconciliation, error) {
	snapshot, err := t.snapshotSoon(ctx, copySlot(t.settings.Source.Slot))
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
