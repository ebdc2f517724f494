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

// reconciliation is a comparison of the IAM's tables, as a snapshot shows them as of one place of the log, with what the mirror
// has of them. What differs was changed by transactions that nobody has read: it becomes ordinary events.
type Reconciliation struct {
	*SnapshotPlan
	Snapshot *cdc.Snapshot
	Record   outbox.Reconciliation // without a reason for one that only fills in what the mapping has gained
	// start is set where the log begins anew at the snapshot, instead of reaching up to it.
	Start *cdc.Position
	// stranger: the server is another one than before. It must at least have the same rows.
	DifferentServer bool
}

// position is that of the snapshot, 0 if nothing is read. While the snapshot cannot be taken, whatever is streamed is before it.
func (r *Reconciliation) Position() cdc.LSN {
	switch {
	case r == nil:
		return 0
	case r.Pending():
		return ^cdc.LSN(0)
	}
	return r.Snapshot.LSN
}

func (r *Reconciliation) Close() {
	if r != nil && r.Snapshot != nil {
		r.Snapshot.Close()
	}
}

// errAnew ends a session in which a reconciliation was only tried, or was finished for somebody who waits for no more.
var ErrRestartSession = errors.New("a reconciliation was requested or has finished")

// reconcile compares, and commits the differences with their events and the place of the log in one outbox transaction.
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
	// What passes is begun again by the next session.
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
	if !r.Record.DryRun && in.held.overdue(r.Snapshot.Time) { // they go before what is found
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
	c := &snapshotDiff{Ingester: in, r: r, large: large, gone: cdc.NewSpool(in.SpillDir, in.SpillBytes), changed: cdc.NewSpool(in.SpillDir, in.SpillBytes)}
	net, err := c.run(ctx)
	defer c.close()
	if err != nil {
		return err
	}
	// The last byte before the snapshot's place, where no transaction is: no event of the log has its identity.
	tx := &cdc.Transaction{Commit: r.Snapshot.LSN - 1, End: r.Snapshot.LSN, Time: r.Snapshot.Time}
	l := in.newLarge(large, tx)
	// Who subscribed in the time that is compared, and who unsubscribed, hears of all of it: nobody knows what came first.
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

// commitReconciled ends the transaction.
func (in *Ingester) commitReconciled(ctx context.Context, r *Reconciliation, large *outbox.Large, l *largeMapping) error {
	if err := large.RecordMirrored(ctx, r.Compared, in.Owners, r.Has, r.Fingerprints); err != nil {
		return err
	}
	if r.Record.ID != 0 {
		if err := large.EndReconciliation(ctx, &r.Record); err != nil {
			return err
		}
	}
	end := max(in.stored, r.Snapshot.LSN)
	large.Mark = &cdc.HistoryMark{Floor: r.Snapshot.LSN}
	if r.Start == nil {
		if err := large.Commit(ctx, end, l.last); err != nil {
			return err
		}
	} else {
		end, in.mark = r.Start.LSN, *large.Mark
		if err := large.CommitAt(ctx, *r.Start, l.last); err != nil {
			return err
		}
	}
	in.committedLarge(l, end)
	return nil
}

// report logs what was done.
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

// copyTables fills in what the mirror has nothing of, and drops what is no longer mapped.
func (in *Ingester) copyTables(ctx context.Context, r *Reconciliation, c *outbox.Copy) (int, error) {
	rows := 0
	for _, t := range r.Missing {
		if r.Catalog.Relation(t.Name) == nil {
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

// copy replaces what the mirror has of a table.
func (r *Reconciliation) copy(ctx context.Context, t *cdc.Table, c *outbox.Copy, log *slog.Logger) (int, error) {
	progress := copyProgress{log: log, table: t.Name, last: time.Now()}
	return c.Table(ctx, t, r.Has, r.Fingerprints[t.Name], func(each func(cdc.Row) error) error {
		return r.Snapshot.Copy(ctx, t, func(row cdc.Row) error { progress.row(); return each(row) })
	})
}

// firstCopy fills the mirror for the first time; start is the position that it is consistent with.
func (r *Reconciliation) FirstCopy(ctx context.Context, leader *outbox.Leader, log *slog.Logger, owners map[*cdc.Table]int, start cdc.Position) error {
	began := time.Now()
	c, err := leader.BeginCopy(ctx, owners)
	if err != nil {
		return err
	}
	defer func() {
		// The end of ctx in a statement closes the connection, and that undoes the copy, too.
		if err := c.Rollback(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			log.Warn("could not roll back the transaction of the first copy", "err", err)
		}
	}()
	rows := 0
	for _, t := range r.Missing {
		if r.Catalog.Relation(t.Name) == nil {
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

// copyProgress reports a long copy.
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

// subscribe brings the subscriptions up to date before the events are matched; what the transaction has deleted is still there.
func (l *largeMapping) subscribe(ctx context.Context, net netChanges) error {
	return eachChunk(net, func(changes []cdc.Change) error {
		l.mirror.Begin(ctx)
		chunk := &outbox.Chunk{}
		l.subs.followRoots(l.Mapper, withoutDeletes(changes))
		chunk.AddWebhooks(l.subs.follow(l.Mapper, changes, l.mirror, l.last))
		l.changed = append(l.changed, chunk.Webhooks...)
		if err := l.mirror.Err(); err != nil {
			return err
		}
		l.mirror.Reset()
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
