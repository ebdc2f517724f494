package relay

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
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// replicatorConfig is what a Replicator works with.
type replicatorConfig struct {
	settings *config.Config
	rules    *mapping.Rules
	store    *outbox.Store
	leader   *outbox.Leader
	dispatch *dispatcher
	monitor  *monitor
	metrics  *admin.Metrics
	warned   *warnings
	clock    clockObserver // of the source's server
	log      *slog.Logger
	// only is the reconciliation after which the replicator ends; 0 for one that goes on.
	only int64
}

// replicator reads the source's WAL, session after session, and has it ingested.
type replicator struct {
	replicatorConfig
	// hole is why the log cannot be read on although the slot is there; nil if it can.
	hole error
	// copyWait is how long the last attempt to read tables again has waited for open transactions; 0 if it succeeded.
	copyWait time.Duration
}

func newReplicator(c replicatorConfig) *replicator { return &replicator{replicatorConfig: c} }

// Run reads the source's log, session after session, as long as what ends one may pass.
func (t *replicator) Run(ctx context.Context) error {
	backoff := loop.NewBackoff()
	for {
		began := time.Now()
		err := t.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errFinished):
			return err
		case errors.Is(err, errAnew), errors.Is(err, errCatalog), errors.Is(err, errPostponed):
			t.log.Info("restarting the replication session", "why", err)
			continue
		}
		if altered, ok := errors.AsType[*cdc.AlteredError](err); ok {
			if err := t.lookAgain(ctx, altered); err != nil {
				return err
			}
			continue
		}
		t.monitor.sourceFailed(err)
		if outboxErr, ok := errors.AsType[*ingestError](err); ok {
			if t.monitor.ingestFailed(outboxErr.err) == 2 {
				t.log.Error("ingestion fails again and again at the same position: no tenant's events come through; see to the cause, it is retried", "err", outboxErr.err)
			}
			return outboxErr.err
		}
		if !cdc.Retryable(err) && !t.heals(err) {
			return err
		}
		t.log.Warn("reading the source's log has stopped, trying again", "err", err)
		if err := backoff.Wait(ctx, time.Since(began)); err != nil {
			return nil //nolint:nilerr // ctx ended
		}
	}
}

// lookAgain prepares the session that reads on where the WAL and the catalogue, as it was, did not fit.
func (t *replicator) lookAgain(ctx context.Context, altered *cdc.AlteredError) error {
	t.log.Info("restarting the replication session", "why", altered)
	if !altered.Suspect {
		return nil
	}
	return t.leader.Suspect(ctx, altered.Table)
}

// heals reports whether the next session can do something about a log that cannot be read on.
func (t *replicator) heals(err error) bool {
	positionErr, ok := errors.AsType[*cdc.PositionError](err)
	if ok && positionErr.Mismatch != cdc.OtherHistory {
		return false // that was its answer
	}
	if ok || errors.Is(err, cdc.ErrPublicationMissing) {
		if t.hole != nil && t.mayReconcile(nil, err) != nil {
			return false
		}
		t.hole = err
		return true
	}
	return errors.Is(err, cdc.ErrSlotMissing) || errors.Is(err, cdc.ErrSlotLost)
}

// startAnew tells what is lost of the old log, and begins the new one.
func (t *replicator) startAnew(ctx context.Context, in *ingest, r *reconciliation) error {
	switch err := in.Resnapshot(ctx, r); {
	case errors.Is(err, errAnew) || errors.Is(err, errFinished):
		return err
	case err != nil:
		return &ingestError{fmt.Errorf("reconcile: %w", err)}
	}
	t.hole = nil
	return nil
}

// finished ends the session if the relay runs for this reconciliation only.
func (t *replicator) finished(record outbox.Reconciliation, err error) error {
	if t.only != 0 && record.ID == t.only && (err == nil || errors.Is(err, errAnew)) {
		return errFinished
	}
	return err
}

// errFinished ends a relay that runs for one reconciliation only.
var errFinished = errors.New("the reconciliation is finished")
