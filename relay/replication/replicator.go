// Package replication reads the IAM's WAL in sessions: each one checks whether the WAL can be continued from the stored position, decides
// which tables must be read from a snapshot, and streams until something fails or the schema changes. Before it comes the leadership in
// package relay, which runs the Replicator; cdc gives it the connection, the catalog and the transactions. After it comes ingest, to which
// it hands the transactions and the plan of what to read.
package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/monitor"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Config names what a Replicator works with. All fields but OnlyReconciliation are required.
type Config struct {
	Settings   *config.Config
	Rules      *mapping.Rules
	Store      *outbox.Store
	Leader     *outbox.Leader
	Dispatcher *delivery.Dispatcher
	Monitor    *monitor.Monitor
	Metrics    *admin.Metrics
	Warnings   *ingest.Warnings
	Clock      delivery.ClockObserver // receives the offset of the source server's clock
	Log        *slog.Logger
	// OnlyReconciliation is the id of the reconciliation after which Run returns ErrDone; 0 to run until stopped.
	OnlyReconciliation int64
}

// Replicator streams the source's WAL into the outbox, one session after another.
type Replicator struct {
	Config
	// gap is why the WAL cannot be continued although the slot exists; nil if it can.
	gap error
	// snapshotWait is how long the last attempt at a table snapshot waited for open transactions; 0 if it succeeded.
	snapshotWait time.Duration
}

// New returns a Replicator that does nothing until Run.
func New(c Config) *Replicator { return &Replicator{Config: c} }

// Run runs sessions until ctx ends, which is not an error. It waits after a transient failure of the source. It returns failures of the
// outbox and of ingestion to the caller, and those that need an operator; ErrDone after OnlyReconciliation.
func (t *Replicator) Run(ctx context.Context) error {
	backoff := loop.NewBackoff()
	for {
		began := time.Now()
		err := t.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrDone):
			return err
		case errors.Is(err, ingest.ErrRestartSession), errors.Is(err, errSchemaChanged), errors.Is(err, errSnapshotPossible):
			t.Log.Info("restarting the replication session", "why", err)
			continue
		}
		if altered, ok := errors.AsType[*cdc.AlteredError](err); ok {
			if err := t.suspectAltered(ctx, altered); err != nil {
				return err
			}
			continue
		}
		t.Monitor.SourceFailed(err)
		if outboxErr, ok := errors.AsType[*ingestError](err); ok {
			if t.Monitor.IngestFailed(outboxErr.err) == 2 {
				t.Log.Error("ingestion keeps failing at the same position; no events are emitted until it succeeds; fix the cause, the relay retries", "err", outboxErr.err)
			}
			return outboxErr.err
		}
		if !cdc.IsTransient(err) && !t.canReconcile(err) {
			return err
		}
		t.Log.Warn("replication stopped; retrying", "err", err)
		if err := backoff.Wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// suspectAltered notes a table whose WAL did not fit the catalog as it was read, so that the next session reads it from a snapshot.
func (t *Replicator) suspectAltered(ctx context.Context, altered *cdc.AlteredError) error {
	t.Log.Info("restarting the replication session", "why", altered)
	if !altered.Suspect {
		return nil
	}
	return t.Leader.Suspect(ctx, altered.Table)
}

// canReconcile reports whether the next session can answer the failure with a reconciliation, and notes the gap for it.
func (t *Replicator) canReconcile(err error) bool {
	positionErr, ok := errors.AsType[*cdc.PositionError](err)
	if ok && positionErr.Mismatch != cdc.OtherHistory {
		return false // this session has already decided that it cannot be reconciled
	}
	if ok || errors.Is(err, cdc.ErrPublicationMissing) {
		if t.gap != nil && t.mayReconcile(nil, err) != nil {
			return false
		}
		t.gap = err
		return true
	}
	return errors.Is(err, cdc.ErrSlotMissing) || errors.Is(err, cdc.ErrSlotLost)
}

// startFromSnapshot emits what the lost WAL contained, as net differences, and moves the position to the snapshot.
func (t *Replicator) startFromSnapshot(ctx context.Context, in *ingest.Ingester, r *ingest.Reconciliation) error {
	switch err := in.Reconcile(ctx, r); {
	case errors.Is(err, ingest.ErrRestartSession) || errors.Is(err, ErrDone):
		return err
	case err != nil:
		return &ingestError{fmt.Errorf("reconcile: %w", err)}
	}
	t.gap = nil
	return nil
}

// finished returns ErrDone instead of err if the relay runs for this reconciliation only.
func (t *Replicator) finished(record outbox.Reconciliation, err error) error {
	if t.OnlyReconciliation != 0 && record.ID == t.OnlyReconciliation && (err == nil || errors.Is(err, ingest.ErrRestartSession)) {
		return ErrDone
	}
	return err
}

// ErrDone ends a Replicator that has finished OnlyReconciliation.
var ErrDone = errors.New("reconciliation finished")
