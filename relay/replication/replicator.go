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

// replicatorConfig is what a Replicator works with.
type Config struct {
	Settings   *config.Config
	Rules      *mapping.Rules
	Store      *outbox.Store
	Leader     *outbox.Leader
	Dispatcher *delivery.Dispatcher
	Monitor    *monitor.Monitor
	Metrics    *admin.Metrics
	Warnings   *ingest.Warnings
	Clock      delivery.ClockObserver // of the source's server
	Log        *slog.Logger
	// only is the reconciliation after which the replicator ends; 0 for one that goes on.
	OnlyReconciliation int64
}

// replicator reads the source's WAL, session after session, and has it ingested.
type Replicator struct {
	Config
	// hole is why the log cannot be read on although the slot is there; nil if it can.
	gap error
	// copyWait is how long the last attempt to read tables again has waited for open transactions; 0 if it succeeded.
	snapshotWait time.Duration
}

func New(c Config) *Replicator { return &Replicator{Config: c} }

// Run reads the source's log, session after session, as long as what ends one may pass.
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
			if err := t.lookAgain(ctx, altered); err != nil {
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

// lookAgain prepares the session that reads on where the WAL and the catalogue, as it was, did not fit.
func (t *Replicator) lookAgain(ctx context.Context, altered *cdc.AlteredError) error {
	t.Log.Info("restarting the replication session", "why", altered)
	if !altered.Suspect {
		return nil
	}
	return t.Leader.Suspect(ctx, altered.Table)
}

// heals reports whether the next session can do something about a log that cannot be read on.
func (t *Replicator) canReconcile(err error) bool {
	positionErr, ok := errors.AsType[*cdc.PositionError](err)
	if ok && positionErr.Mismatch != cdc.OtherHistory {
		return false // that was its answer
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

// startAnew tells what is lost of the old log, and begins the new one.
func (t *Replicator) startAnew(ctx context.Context, in *ingest.Ingester, r *ingest.Reconciliation) error {
	switch err := in.Resnapshot(ctx, r); {
	case errors.Is(err, ingest.ErrRestartSession) || errors.Is(err, ErrDone):
		return err
	case err != nil:
		return &ingestError{fmt.Errorf("reconcile: %w", err)}
	}
	t.gap = nil
	return nil
}

// finished ends the session if the relay runs for this reconciliation only.
func (t *Replicator) finished(record outbox.Reconciliation, err error) error {
	if t.OnlyReconciliation != 0 && record.ID == t.OnlyReconciliation && (err == nil || errors.Is(err, ingest.ErrRestartSession)) {
		return ErrDone
	}
	return err
}

// errFinished ends a relay that runs for one reconciliation only.
var ErrDone = errors.New("reconciliation finished")
