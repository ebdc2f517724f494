package relay

import (
	"context"
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// survey is what must be read of the tables themselves, because the log does not tell it: tables and columns that the mapping
// has gained, and tables whose rows may have changed unseen.
type survey struct {
	catalog *cdc.Catalog
	mapped  []*cdc.Table // all
	copied  []*cdc.Table // the mirror has nothing of them: their rows are none that somebody changed
	// compared are those whose differences from the mirror are told; doubted of them may differ.
	compared, doubted []*cdc.Table
	lacking           map[*cdc.Table][]int // columns of compared tables that the mirror does not have
	// prints are the tables' fingerprints, taken before their rows are read: what changes later is seen later.
	prints map[string]string
}

// survey looks which tables must be read; with all, every one that the mirror holds is doubted.
func (t *term) survey(ctx context.Context, found *source, all bool) (*survey, error) {
	s := &survey{catalog: found.catalog, mapped: t.rules.Tables(), lacking: map[*cdc.Table][]int{}, prints: found.prints}
	mirrored, err := t.leader.Mirrored(ctx, s.mapped, found.owners, s.has)
	if err != nil {
		return nil, &ingestError{err}
	}
	adopted := map[string]string{}
	for _, m := range mirrored {
		if s.catalog.Relation(m.Table.Name) == nil {
			continue // optional, and not there
		}
		now := s.prints[m.Table.Name]
		doubted := all || m.Fingerprint != "" && !cdc.Alike(m.Fingerprint, now)
		if m.Known && m.Fingerprint == "" {
			adopted[m.Table.Name] = now // kept by a relay that took none
		}
		switch {
		case !m.Known:
			s.copied = append(s.copied, m.Table)
		case doubted || m.Lacking != nil:
			s.compared, s.lacking[m.Table] = append(s.compared, m.Table), m.Lacking
			if doubted {
				s.doubted = append(s.doubted, m.Table)
			}
		}
	}
	if len(adopted) > 0 {
		if err := t.leader.SaveFingerprints(ctx, adopted); err != nil {
			return nil, &ingestError{err}
		}
	}
	return s, nil
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
