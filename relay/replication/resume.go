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

// begin makes sure that the outbox has a position in this server's log. It returns what is to be read of the tables besides:
// at once if the log is to begin anew, else when it has come to the snapshot; nil if nothing is.
func (t *Replicator) begin(ctx context.Context, s *sourceState) (*ingest.Reconciliation, error) {
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
		return nil, t.start(ctx, s, position)
	}
	asked, err := t.Store.RequestedReconciliation(ctx)
	if err != nil {
		return nil, &ingestError{err}
	}
	lost := t.resume(ctx, s, position)
	if outboxErr, ok := errors.AsType[*ingestError](lost); ok {
		return nil, outboxErr
	}
	if err := unhealable(lost, s.slot); err != nil {
		return nil, err
	}
	switch {
	case lost == nil && t.gap != nil:
		lost = t.gap
	case lost == nil && asked != nil && asked.SkipWAL:
		lost = errWALSkipped
	}
	if s.slot.Active { // also of one that is to be left
		if err := t.evict(ctx, s.conn, s.slot); err != nil {
			return nil, err
		}
	}
	y, err := t.survey(ctx, s, lost != nil || asked != nil)
	if err != nil {
		return nil, err
	}
	s.survey = y
	if lost != nil {
		return t.resnapshot(ctx, s, y, lost, asked)
	}
	return t.catchUp(ctx, y, asked)
}

var errWALSkipped = errors.New("requested manually, skipping the WAL")

// unhealable returns what a comparison cannot, or must not, heal.
func unhealable(lost error, slot cdc.SlotStatus) error {
	positionErr, ok := errors.AsType[*cdc.PositionError](lost)
	switch {
	case lost == nil:
		return nil
	case !ok || !positionErr.Reconcilable():
		return lost
	case slot.Active && (positionErr.Mismatch == cdc.SlotAhead || positionErr.Mismatch == cdc.OtherSystem):
		// To take it from somebody else would have both take it from each other for ever.
		return fmt.Errorf("%w; process %d on the server is reading from the slot: use a separate slot for each relay and program, or stop that process", lost, slot.ActivePID)
	}
	return nil
}

// resume checks that the log goes on where the relay stopped, also if a standby was promoted that had all that was read.
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

// mayReconcile refuses what the configuration wants to be decided by hand.
func (t *Replicator) mayReconcile(asked *outbox.Reconciliation, why error) error {
	if t.Settings.Source.Reconcile == config.ReconcileAuto || asked != nil {
		return nil
	}
	return fmt.Errorf(`%w; source.reconcile is "stop": run iam-relay reconcile --dry-run to see the missed changes, and iam-relay reconcile to emit them`, why)
}

// catchUp reads tables at a place that the log will reach.
func (t *Replicator) catchUp(ctx context.Context, y *ingest.SnapshotPlan, asked *outbox.Reconciliation) (*ingest.Reconciliation, error) {
	var record outbox.Reconciliation
	switch {
	case asked != nil:
		record = *asked
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
		return nil, nil //nolint:nilnil // nothing to read is no error
	default:
		t.Log.Info("the mapping has new tables or columns; copying them into the mirror", "tables", cdc.TableNames(y.Read()))
	}
	return t.plan(ctx, y, record)
}

// anew begins a new log: with a slot that reads on from a snapshot of now, whatever was lost before.
func (t *Replicator) resnapshot(ctx context.Context, s *sourceState, y *ingest.SnapshotPlan, lost error, asked *outbox.Reconciliation) (*ingest.Reconciliation, error) {
	if err := t.mayReconcile(asked, lost); err != nil {
		return nil, err
	}
	r := &ingest.Reconciliation{SnapshotPlan: y, Record: outbox.Reconciliation{Reason: lost.Error()}}
	if asked != nil {
		r.Record = *asked
		r.Record.Reason = lost.Error()
	}
	t.Log.Warn("replication cannot resume; resynchronizing all tables from a snapshot", "reason", lost, "dry_run", r.Record.DryRun)
	name, temporary, err := t.slotFor(ctx, s, r.Record.DryRun)
	if err != nil {
		return nil, err
	}
	if r.Snapshot, err = t.createSlot(ctx, name, temporary); err != nil {
		return nil, err
	}
	start := s.position(r.Snapshot.LSN)
	r.Start = &start
	positionErr, ok := errors.AsType[*cdc.PositionError](lost)
	r.DifferentServer = ok && positionErr.Mismatch == cdc.OtherSystem && asked == nil
	return r, nil
}

// slotFor says which slot's snapshot to begin with. One that is there and can be read is kept, whoever made it, and
// read from the snapshot of a temporary one on; only what is lost, and was the relay's own, is dropped.
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

// evict ends the stream of a former leader that is frozen or cut off: it can write nothing any more, and the server would
// notice only after wal_sender_timeout.
func (t *Replicator) evict(ctx context.Context, conn *pgx.Conn, slot cdc.SlotStatus) error {
	ended, err := cdc.EndStream(ctx, conn, slot)
	if ended {
		t.Log.Info("terminated the previous leader's replication stream", "slot", slot.Name)
	}
	return err
}

// position is a place in the log of the source.
func (s *sourceState) position(lsn cdc.LSN) cdc.Position {
	return cdc.Position{SystemID: s.server.SystemID, Timeline: s.server.Timeline, Database: s.server.Database, Slot: s.slot.Name, LSN: lsn}
}

// start makes the slot and fills the mirror from its snapshot. It emits nothing.
func (t *Replicator) start(ctx context.Context, s *sourceState, position outbox.Position) error {
	slot := s.slot
	if slot.Exists {
		if position.State != outbox.StateCopying || position.Slot != slot.Name {
			return fmt.Errorf("slot %s exists, but this outbox has never read from it: drop it, or choose another source.slot", slot.Name)
		}
		if err := cdc.DropSlot(ctx, s.conn, slot.Name); err != nil { // ours, from a first copy that did not end
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
	s.survey = &ingest.SnapshotPlan{Catalog: s.catalog, Mapped: t.Rules.Tables(), Missing: t.Rules.Tables(), Fingerprints: s.prints}
	r := &ingest.Reconciliation{Snapshot: snapshot, SnapshotPlan: s.survey}
	defer r.Close()
	return r.FirstCopy(ctx, t.Leader, t.Log, s.owners, s.position(snapshot.LSN))
}
