package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Reconciliation compares the IAM's tables in a snapshot, consistent with one LSN, with the mirror. Differences come from transactions that
// the relay has not read; they become marked events. It also fills the mirror of tables that are new in the mapping, without events.
type Reconciliation struct {
	*SnapshotPlan
	Snapshot *Snapshot    // nil while open transactions prevent it
	Current  SnapshotRows // reads single rows as long as there is no Snapshot; nil if there is one
	// Record is stored while and after it runs. Its Reason is empty if only new tables are copied; then it is not stored.
	Record outbox.Reconciliation
	// Start is the position at which a new stream starts after the snapshot; nil if the present stream will reach the snapshot.
	Start *cdc.Position
	// DifferentServer is set if the source is not the server of before. Then most of the mirrored rows must exist there.
	DifferentServer bool
}

// Position returns the LSN of the snapshot, 0 if r is nil, and the highest LSN while the snapshot cannot be taken, since everything that is
// streamed until then precedes it.
func (r *Reconciliation) Position() cdc.LSN {
	switch {
	case r == nil:
		return 0
	case r.Pending():
		return ^cdc.LSN(0)
	}
	return r.Snapshot.LSN
}

// Close closes the snapshot's connection, if any. r may be nil.
func (r *Reconciliation) Close() {
	if r == nil {
		return
	}
	if r.Snapshot != nil {
		r.Snapshot.Close()
	}
	if r.Current != nil {
		r.Current.Close()
	}
}

// ErrRestartSession ends a session after a dry run, or so that the next one can start a requested reconciliation.
var ErrRestartSession = errors.New("a reconciliation was requested or has finished")

// reconcile commits the differences, their events and the position of the snapshot in one outbox transaction. A lasting failure is stored
// in the record.
func (in *Ingester) reconcile(ctx context.Context, r *Reconciliation) error {
	if err := in.beginRecord(ctx, r); err != nil {
		return err
	}
	in.reconciling = true
	err := in.reconcileIn(ctx, r)
	in.reconciling = false
	if err == nil || errors.Is(err, ErrRestartSession) || r.Record.ID == 0 || outbox.IsTransient(err) || ctx.Err() != nil {
		return err
	}
	// After a transient failure the next session repeats it.
	r.Record.State, r.Record.Error = outbox.ReconciliationFailed, err.Error()
	return errors.Join(err, in.Store.EndReconciliation(ctx, &r.Record))
}

func (in *Ingester) beginRecord(ctx context.Context, r *Reconciliation) (err error) {
	if r.Record.Reason == "" {
		return nil
	}
	if r.Record.Expected, err = in.Store.Rows(ctx, r.Compared); err != nil {
		return err
	}
	r.Record.LSN = r.Snapshot.LSN.String()
	return in.Store.BeginReconciliation(ctx, &r.Record)
}

func (in *Ingester) reconcileIn(ctx context.Context, r *Reconciliation) (err error) {
	began := time.Now()
	if !r.Record.DryRun && in.delayed.overdue(r.Snapshot.Time) { // due events precede the differences
		if err := in.release(ctx, r.Snapshot.Time, in.stored); err != nil {
			return err
		}
	}
	large, err := in.Leader.Begin(ctx, in.mirror)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.End(in.mirror)) }()
	copied, err := in.copyTables(ctx, r, large.Copy(in.Owners))
	if err != nil {
		return err
	}
	c := &snapshotDiff{in: in, r: r, large: large, deleted: cdc.NewSpool(in.SpillDir, in.SpillBytes), changed: cdc.NewSpool(in.SpillDir, in.SpillBytes)}
	net, err := c.run(ctx)
	defer c.close()
	if err != nil {
		return err
	}
	// No transaction commits at the last byte before the snapshot, so no event from the WAL has the same id.
	tx := &cdc.Transaction{Commit: r.Snapshot.LSN - 1, End: r.Snapshot.LSN, Time: r.Snapshot.Time}
	l := in.newLarge(large, tx, in.rowsAt(ctx, r))
	// Webhooks that were created or removed during the gap get all differences, since their order is unknown.
	if err := l.subscribe(ctx, net); err != nil {
		return err
	}
	if err := l.run(ctx, net); err != nil {
		return fmt.Errorf("reconcile at %s: %w", r.Snapshot.LSN, err)
	}
	r.Record.State, r.Record.Result = outbox.ReconciliationDone, c.result(l)
	if r.Record.DryRun {
		return errors.Join(in.Store.EndReconciliation(ctx, &r.Record), ErrRestartSession)
	}
	if err := in.commitReconciled(ctx, r, large, l); err != nil {
		return err
	}
	in.report(r, copied, time.Since(began))
	return nil
}

// commitReconciled commits, with the new state of the mirror and the end of the record.
func (in *Ingester) commitReconciled(ctx context.Context, r *Reconciliation, large Large, l *largeMapping) error {
	if err := large.RecordMirrored(ctx, r.Compared, in.Owners, r.Has, r.Fingerprints); err != nil {
		return err
	}
	if r.Record.ID != 0 {
		if err := large.EndReconciliation(ctx, &r.Record); err != nil {
			return err
		}
	}
	end := max(in.stored, r.Snapshot.LSN)
	mark := &cdc.HistoryMark{Floor: r.Snapshot.LSN}
	if r.Start == nil {
		if err := large.Commit(ctx, end, l.last, mark); err != nil {
			return err
		}
	} else {
		end, in.mark = r.Start.LSN, *mark
		if err := large.CommitAt(ctx, *r.Start, l.last, mark); err != nil {
			return err
		}
	}
	in.committedLarge(l, end)
	return nil
}

// report logs the result.
func (in *Ingester) report(r *Reconciliation, copied int, took time.Duration) {
	lsn, rounded := r.Snapshot.LSN.String(), took.Round(time.Millisecond).String()
	if r.Record.Reason == "" {
		in.Log.Info("copied the mapped tables into the mirror", "tables", cdc.TableNames(r.Read()), "rows", copied, "lsn", lsn, "took", rounded)
		return
	}
	var rows [3]int64
	for _, t := range r.Record.Result.Tables {
		rows[0], rows[1], rows[2] = rows[0]+t.Inserted, rows[1]+t.Updated, rows[2]+t.Deleted
	}
	events := int64(0)
	for _, n := range r.Record.Result.Events {
		events += n
	}
	in.Log.Warn("reconciliation finished; missed changes emitted", "reason", r.Record.Reason, "compared", r.Record.Rows, "inserted", rows[0],
		"updated", rows[1], "deleted", rows[2], "events", events, "lsn", lsn, "took", rounded)
}

// copyTables fills the mirror of tables that it lacks, and drops that of tables that are no longer mapped. It returns the number of rows.
func (in *Ingester) copyTables(ctx context.Context, r *Reconciliation, c Copy) (int, error) {
	rows := 0
	for _, t := range r.Missing {
		if r.Catalog.Relation(t) == nil {
			continue
		}
		n, err := r.copy(ctx, t, c, in.Log)
		if err != nil {
			return 0, err
		}
		rows += n
	}
	return rows, c.Keep(ctx, r.Mapped)
}

// copy replaces the mirror of one table.
func (r *Reconciliation) copy(ctx context.Context, t *cdc.Table, c Copy, log *slog.Logger) (int, error) {
	progress := copyProgress{log: log, table: t.Name, last: time.Now()}
	return c.Table(ctx, t, r.Has, r.Fingerprints[t.Name], func(each func(cdc.Row) error) error {
		return r.Snapshot.Copy(ctx, t, func(row cdc.Row) error { progress.row(); return each(row) })
	})
}

// FirstCopy fills the mirror for the first time and stores start, the position of the snapshot, in one transaction. It emits no events.
func (r *Reconciliation) FirstCopy(ctx context.Context, leader *outbox.Leader, log *slog.Logger, owners map[*cdc.Table]int, start cdc.Position) error {
	began := time.Now()
	c, err := leader.BeginCopy(ctx, owners)
	if err != nil {
		return err
	}
	defer func() {
		// If ctx ended during a statement, the connection is closed, which rolls back as well.
		if err := c.Rollback(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			log.Warn("could not roll back the transaction of the first copy", "err", err)
		}
	}()
	rows := 0
	for _, t := range r.Missing {
		if r.Catalog.Relation(t) == nil {
			if err := c.Absent(ctx, t); err != nil {
				return err
			}
			continue
		}
		n, err := r.copy(ctx, t, c, log)
		if err != nil {
			return err
		}
		rows += n
	}
	if err := c.Keep(ctx, r.Mapped); err != nil {
		return err
	}
	if err := c.Start(ctx, start); err != nil {
		return err
	}
	log.Info("copied the mapped tables into the mirror", "tables", len(r.Missing), "rows", rows, "lsn", start.LSN.String(),
		"took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// copyProgress logs the progress of a long copy.
type copyProgress struct {
	log   *slog.Logger
	table string
	rows  int
	last  time.Time
}

func (p *copyProgress) row() {
	if p.rows++; p.rows%10000 != 0 {
		return
	}
	if now := time.Now(); now.Sub(p.last) >= 5*time.Second {
		p.last = now
		p.log.Info("copying into the mirror", "table", p.table, "rows", p.rows)
	}
}

// subscribe updates the subscriptions before the events are matched. Deleted rows are still in the mirror then.
func (l *largeMapping) subscribe(ctx context.Context, net netChanges) error {
	return l.in.eachChunk(net, func(changes []cdc.Change) error {
		l.in.mirror.Begin(ctx)
		chunk := &outbox.Chunk{}
		l.in.subs.followRoots(l.in.Mapper, withoutDeletes(changes))
		chunk.AddWebhooks(l.in.subs.follow(l.in.Mapper, changes, l.in.mirror, l.last))
		l.changed = append(l.changed, chunk.Webhooks...)
		if err := l.in.mirror.Err(); err != nil {
			return err
		}
		l.in.mirror.Reset()
		return l.large.Write(ctx, chunk)
	})
}

func withoutDeletes(changes []cdc.Change) []cdc.Change {
	var kept []cdc.Change
	for i := range changes {
		if changes[i].Op != cdc.Delete {
			kept = append(kept, changes[i])
		}
	}
	return kept
}
