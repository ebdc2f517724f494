package relay

import (
	"context"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// A reconciliation of a log that goes on is done when the stream has come to the place of its snapshot: everything before is
// then in the mirror by way of the log, and everything after comes by that way, too.

// passedBy reports whether the transaction lies beyond the snapshot.
func (r *reconciliation) passedBy(lsn cdc.LSN) bool {
	return r != nil && !r.pending() && lsn >= r.snapshot.LSN
}

// known leaves out the changes of tables that the mirror does not have yet: those before the place are in the snapshot.
func (r *reconciliation) known(changes []cdc.Change) []cdc.Change {
	if r == nil || len(r.copied) == 0 {
		return changes
	}
	kept := changes[:0]
	for i := range changes {
		if !slices.Contains(r.copied, changes[i].Relation.Table) {
			kept = append(kept, changes[i])
		}
	}
	return kept
}

// complete finds what neither the log nor the mirror has of a new row: large values that an UPDATE left alone, of columns that
// the mirror is still to gain. The snapshot has them, or a later version; of a row that is gone by then nobody knows them.
func (r *reconciliation) complete(ctx context.Context, c *cdc.Change) error {
	unchanged := func(v cdc.Value) bool { return v.Kind == cdc.Unchanged }
	if r == nil || !slices.Contains(r.read(), c.Relation.Table) || !slices.ContainsFunc(c.New, unchanged) {
		return nil
	}
	key := make([]string, c.Relation.KeyColumns)
	for i := range key {
		key[i] = c.New[i].Text
	}
	var row cdc.Row
	if !r.pending() {
		var err error
		if row, err = r.snapshot.Row(ctx, c.Relation.Table, key); err != nil {
			return err
		}
	}
	for i := range c.New {
		if !unchanged(c.New[i]) {
			continue
		}
		if c.New[i] = (cdc.Value{}); row != nil {
			c.New[i] = row[i]
		}
	}
	return nil
}

// passBarrier reconciles once the stream has reached the snapshot's place.
func (in *ingest) passBarrier(ctx context.Context, lsn cdc.LSN) error {
	if !in.barrier.passedBy(lsn) {
		return nil
	}
	if err := in.Resnapshot(ctx, in.barrier); err != nil {
		return err
	}
	in.barrier = nil
	return nil
}

// Resnapshot reconciles at once and closes the reconciliation.
func (in *ingest) Resnapshot(ctx context.Context, r *reconciliation) error {
	if err := in.Finished(r.record, in.reconcile(ctx, r)); err != nil {
		return err
	}
	r.close()
	return in.readSubscriptions(ctx) // their tables may be among those
}

// pending reports whether the tables could not be read yet.
func (r *reconciliation) pending() bool { return r != nil && r.snapshot == nil }
