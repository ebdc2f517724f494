package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// prepare decides where the session starts: after a first copy, at the stored position, or at a new snapshot. It returns the
// reconciliation that is due: at once if its Start is set, else when the stream reaches its snapshot; nil if none is.
func (t *Replicator) prepare(ctx context.Context, s *sourceState) (*ingest.Reconciliation, error) {
	if err := t.Leader.ResumeReconciliations(ctx); err != nil {
		return nil, &ingestError{err}
	}
	position, err := t.Store.Position(ctx)
	if err != nil {
		return nil, &ingestError{err}
	}
	if s.slot, err = cdc.Slot(ctx, s.conn, t.Settings.Source.Slot); err != nil {
		return nil, err
	}
	if position.State != outbox.StateStreaming {
		return nil, t.firstStart(ctx, s, position)
	}
	requested, err := t.Store.RequestedReconciliation(ctx)
	if err != nil {
		return nil, &ingestError{err}
	}
	lost := t.resume(ctx, s, position)
	if outboxErr, ok := errors.AsType[*ingestError](lost); ok {
		return nil, outboxErr
	}
	if err := irreconcilable(lost, s.slot); err != nil {
		return nil, err
	}
	switch {
	case lost == nil && t.gap != nil:
		lost = t.gap
	case lost == nil && requested != nil && requested.SkipWAL:
		lost = errWALSkipped
	}
	if s.slot.Active { // even if this session will replace the slot
		if err := t.evict(ctx, s.conn, s.slot); err != nil {
			return nil, err
		}
	}
	if s.plan, err = t.plan(ctx, s, lost != nil || requested != nil); err != nil {
		return nil, err
	}
	if lost != nil {
		return t.resnapshot(ctx, s, lost, requested)
	}
	return t.reconcileLater(ctx, s.plan, requested)
}

var errWALSkipped = errors.New("requested manually, skipping the WAL")

// irreconcilable returns the error if a reconciliation cannot, or must not, answer it.
func irreconcilable(lost error, slot cdc.SlotStatus) error {
	positionErr, ok := errors.AsType[*cdc.PositionError](lost)
	switch {
	case lost == nil:
		return nil
	case !ok || !positionErr.Reconcilable():
		return lost
	case slot.Active && (positionErr.Mismatch == cdc.SlotAhead || positionErr.Mismatch == cdc.OtherSystem):
		// Two relays that share a slot by mistake would otherwise take it from each other forever.
		return fmt.Errorf("%w; process %d on the server is reading from the slot: use a separate slot for each relay and program, or stop that process", lost, slot.ActivePID)
	}
	return nil
}

// resume checks that the server's WAL continues at the stored position. It follows the promotion of a standby that had received
// everything up to it. A *cdc.PositionError says why the WAL cannot be continued.
func (t *Replicator) resume(ctx context.Context, s *sourceState, position outbox.Position) error {
	server, slot, p := s.server, s.slot, position.Position
	promoted := server.SystemID == p.SystemID && server.Timeline > p.Timeline
	if promoted {
		history, err := cdc.TimelineHistory(ctx, string(t.Settings.Source.URL), server.Timeline)
		if err != nil {
			return err
		}
		if promoted = cdc.HistoryContains(history, p.Timeline, p.LSN); promoted {
			p.Timeline = server.Timeline
		}
	}
	if err := cdc.CheckPosition(server, slot, p); err != nil || !promoted {
		return err
	}
	if err := t.Leader.FollowTimeline(ctx, p.Timeline); err != nil {
		return &ingestError{err}
	}
	t.Log.Info("a standby was promoted and has everything that was read; resuming on its timeline", "timeline", p.Timeline, "slot", slot.Name)
	return nil
}

// mayReconcile returns an error if source.reconcile is "stop" and no operator has requested the reconciliation.
func (t *Replicator) mayReconcile(requested *outbox.Reconciliation, why error) error {
	if t.Settings.Source.Reconcile == config.ReconcileAuto || requested != nil {
		return nil
	}
	return fmt.Errorf(`%w; source.reconcile is "stop": run iam-relay reconcile --dry-run to see the missed changes, and iam-relay reconcile to emit them`, why)
}

// reconcileLater plans the reading of tables while the WAL is continued; nil if the plan is empty.
func (t *Replicator) reconcileLater(ctx context.Context, y *ingest.SnapshotPlan, requested *outbox.Reconciliation) (*ingest.Reconciliation, error) {
	var record outbox.Reconciliation
	switch {
	case requested != nil:
		record = *requested
	case len(y.Suspect) > 0:
		why := fmt.Errorf("tables changed outside the replication stream (recreated, rewritten, renamed or unpublished): %s", cdc.TableNames(y.Suspect))
		if err := t.mayReconcile(nil, why); err != nil {
			return nil, err
		}
		record.Reason = why.Error()
		t.Log.Warn("tables changed outside the replication stream; comparing them with the mirror", "tables", cdc.TableNames(y.Suspect))
	case len(y.Appeared) > 0:
		record.Reason = "optional tables or columns appeared: " + cdc.TableNames(y.Appeared)
		t.Log.Info("optional tables or columns appeared; comparing their rows with the mirror", "tables", cdc.TableNames(y.Appeared))
	case y.Empty():
		return nil, nil //nolint:nilnil // nothing to read is not an error
	default:
		t.Log.Info("the mapping has new tables or columns; copying them into the mirror", "tables", cdc.TableNames(y.Read()))
	}
	return t.planReconciliation(ctx, y, record)
}

// resnapshot gives up the WAL before now: the session starts at a new snapshot, and reconciliation emits what changed until then.
func (t *Replicator) resnapshot(ctx context.Context, s *sourceState, lost error, requested *outbox.Reconciliation) (*ingest.Reconciliation, error) {
	if err := t.mayReconcile(requested, lost); err != nil {
		return nil, err
	}
	r := &ingest.Reconciliation{SnapshotPlan: s.plan, Record: outbox.Reconciliation{Reason: lost.Error()}}
	if requested != nil {
		r.Record = *requested
		r.Record.Reason = lost.Error()
	}
	t.Log.Warn("replication cannot resume; resynchronizing all tables from a snapshot", "reason", lost, "dry_run", r.Record.DryRun)
	name, temporary, err := t.slotFor(ctx, s, r.Record.DryRun)
	if err != nil {
		return nil, err
	}
	snapshot, err := t.createSlot(ctx, name, temporary)
	if err != nil {
		return nil, err
	}
	r.Snapshot = ingest.NewSnapshot(snapshot)
	start := s.position(r.Snapshot.LSN)
	r.Start = &start
	positionErr, ok := errors.AsType[*cdc.PositionError](lost)
	r.DifferentServer = ok && positionErr.Mismatch == cdc.OtherSystem && requested == nil
	return r, nil
}

// slotFor returns the name of the slot to create for a snapshot. A slot that exists and can be read is kept, and a temporary one exports
// the snapshot; a lost slot is dropped and created again.
func (t *Replicator) slotFor(ctx context.Context, s *sourceState, dryRun bool) (name string, temporary bool, err error) {
	slot, server := s.slot, s.server
	switch {
	case slot.Exists && !slot.Readable(server.Database):
		return "", false, fmt.Errorf("slot %s uses plugin %s in database %q and belongs to another program; choose another source.slot", slot.Name, slot.Plugin, slot.Database)
	case dryRun:
		return copySlot(slot.Name), true, nil
	case !slot.Exists:
		return slot.Name, false, nil
	case slot.Lost():
		t.Log.Info("dropping the lost slot", "slot", slot.Name)
		return slot.Name, false, cdc.DropSlot(ctx, s.conn, slot.Name)
	case slot.Confirmed > server.Current:
		return "", false, fmt.Errorf("slot %s is confirmed up to %s, beyond the end of the WAL at %s, and would skip new changes; if nothing else uses it, drop it: SELECT pg_drop_replication_slot('%s')",
			slot.Name, slot.Confirmed, server.Current, slot.Name)
	}
	return copySlot(slot.Name), true, nil
}

// evict terminates the replication stream of a previous leader that hangs or is cut off. It is already fenced; without this the server
// would keep the slot active until wal_sender_timeout.
func (t *Replicator) evict(ctx context.Context, conn *pgx.Conn, slot cdc.SlotStatus) error {
	ended, err := cdc.EndStream(ctx, conn, slot)
	if ended {
		t.Log.Info("terminated the previous leader's replication stream", "slot", slot.Name)
	}
	return err
}

// position returns the LSN as a position in this server's WAL and slot.
func (s *sourceState) position(lsn cdc.LSN) cdc.Position {
	return cdc.Position{SystemID: s.server.SystemID, Timeline: s.server.Timeline, Database: s.server.Database, Slot: s.slot.Name, LSN: lsn}
}

// firstStart creates the slot and fills the mirror from its snapshot. It emits no events.
func (t *Replicator) firstStart(ctx context.Context, s *sourceState, position outbox.Position) error {
	slot := s.slot
	if slot.Exists {
		if position.State != outbox.StateCopying || position.Slot != slot.Name {
			return fmt.Errorf("slot %s exists, but this outbox has never read from it: drop it, or choose another source.slot", slot.Name)
		}
		if err := cdc.DropSlot(ctx, s.conn, slot.Name); err != nil { // left by an interrupted first copy
			return err
		}
	}
	if err := t.Leader.StartCopy(ctx, slot.Name); err != nil {
		return &ingestError{err}
	}
	t.Log.Info("first start: creating the slot and copying the mapped tables", "slot", slot.Name)
	snapshot, err := t.createSlot(ctx, slot.Name, false)
	if err != nil {
		return err
	}
	s.plan = &ingest.SnapshotPlan{Catalog: s.catalog, Mapped: t.Rules.Tables(), Missing: t.Rules.Tables(), Fingerprints: s.fingerprints}
	r := &ingest.Reconciliation{Snapshot: ingest.NewSnapshot(snapshot), SnapshotPlan: s.plan}
	defer r.Close()
	return r.FirstCopy(ctx, t.Leader, t.Log, s.owners, s.position(snapshot.LSN))
}
