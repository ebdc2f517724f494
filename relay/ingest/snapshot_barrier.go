package ingest

import (
	"context"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// A reconciliation of a log that goes on is done when the stream has come to the place of its snapshot: everything before is
// then in the mirror by way of the log, and everything after comes by that way, too.

// passedBy reports whether the transaction lies beyond the snapshot.
func (r *Reconciliation) passedBy(lsn cdc.LSN) bool {
	return r != nil && !r.Pending() && lsn >= r.Snapshot.LSN
}

// known leaves out the changes of tables that the mirror does not have yet: those before the place are in the snapshot.
func (r *Reconciliation) known(changes []cdc.Change) []cdc.Change {
	if r == nil || len(r.Missing) == 0 {
		return changes
	}
	kept := changes[:0]
	for i := range changes {
		if !slices.Contains(r.Missing, changes[i].Relation.Table) {
			kept = append(kept, changes[i])
		}
	}
	return kept
}

// complete finds what neither the log nor the mirror has of a new row: large values that an UPDATE left alone, of columns that
// the mirror is still to gain. The snapshot has them, or a later version; of a row that is gone by then nobody knows them.
func (r *Reconciliation) complete(ctx context.Context, c *cdc.Change) error {
	unchanged := func(v cdc.Value) bool { return v.Kind == cdc.Unchanged }
	if r == nil || !slices.Contains(r.Read(), c.Relation.Table) || !slices.ContainsFunc(c.New, unchanged) {
		return nil
	}
	key := make([]string, c.Relation.KeyColumns)
	for i := range key {
		key[i] = c.New[i].Text
	}
	var row cdc.Row
	if !r.Pending() {
		var err error
		if row, err = r.Snapshot.Row(ctx, c.Relation.Table, key); err != nil {
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
func (in *Ingester) passBarrier(ctx context.Context, lsn cdc.LSN) error {
	if !in.barrier.passedBy(lsn) {
		return nil
	}
	if err := in.Reconcile(ctx, in.barrier); err != nil {
		return err
	}
	in.barrier = nil
	return nil
}

// Reconcile reconciles at once and closes the reconciliation.
func (in *Ingester) Reconcile(ctx context.Context, r *Reconciliation) error {
	if err := in.Finished(r.Record, in.reconcile(ctx, r)); err != nil {
		return err
	}
	r.Close()
	return in.readSubscriptions(ctx) // their tables may be among those
}

// pending reports whether the tables could not be read yet.
func (r *Reconciliation) Pending() bool { return r != nil && r.Snapshot == nil }
