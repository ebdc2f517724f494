package ingest

import (
	"context"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// While the WAL is continued, a reconciliation is done when the stream reaches the position of its snapshot: the stream has brought the
// mirror to that position, and will bring everything after it.

// passedBy reports whether a transaction with the commit LSN is not in the snapshot.
func (r *Reconciliation) passedBy(lsn cdc.LSN) bool {
	return r != nil && !r.Pending() && lsn >= r.Snapshot.LSN
}

// known leaves out the changes of tables that the mirror does not have yet: the snapshot contains them. It reuses the slice.
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

// complete fills in values of a new row that neither the WAL nor the mirror has: unchanged TOASTed values of columns that are new in the
// mapping. The snapshot, or the table as it is, has them, or later ones; if the row is deleted by then, they become NULL.
func (r *Reconciliation) complete(ctx context.Context, c *cdc.Change) error {
	unchanged := func(v cdc.Value) bool { return v.Kind == cdc.Unchanged }
	if r == nil || !slices.Contains(r.Read(), c.Relation.Table) || !slices.ContainsFunc(c.New, unchanged) {
		return nil
	}
	key := make([]string, c.Relation.KeyColumns)
	for i := range key {
		key[i] = c.New[i].Text
	}
	rows := r.Current
	if !r.Pending() {
		rows = r.Snapshot
	}
	row, err := rows.Row(ctx, c.Relation.Table, key)
	if err != nil {
		return err
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

// passBarrier reconciles once the stream has reached the snapshot.
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

// Reconcile carries out the reconciliation at once, and closes it unless the session ends with an error.
func (in *Ingester) Reconcile(ctx context.Context, r *Reconciliation) error {
	if err := in.Finished(r.Record, in.reconcile(ctx, r)); err != nil {
		return err
	}
	r.Close()
	return in.readSubscriptions(ctx) // the IAM's webhook tables may have been read
}

// Pending reports whether open transactions still prevent the snapshot.
func (r *Reconciliation) Pending() bool { return r != nil && r.Snapshot == nil }
