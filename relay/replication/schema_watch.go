package replication

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/ingest"
)

const (
	// requestPoll is how often a session checks whether a reconciliation was requested.
	requestPoll = time.Second
	// catalogPoll is how often a session checks whether the source's schema or publication changed.
	catalogPoll = 5 * time.Second
)

// errSchemaChanged ends a session under which the mapped tables or the publication changed.
var errSchemaChanged = errors.New("mapped tables or the publication changed")

// watchSource returns an error, which ends the session, when the next one would have something to reconcile. A failed check is repeated
// at the next tick.
func (t *Replicator) watchSource(ctx context.Context, found *sourceState, current *ingest.Reconciliation) error {
	requests, catalog := time.NewTicker(requestPoll), time.NewTicker(catalogPoll)
	defer requests.Stop()
	defer catalog.Stop()
	w := &schemaWatch{
		replicator: t, signature: found.signature, fingerprints: found.fingerprints, withheld: found.withheld,
		unpublished: found.unpublished, hazards: found.hazards,
	}
	defer w.close(context.WithoutCancel(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-requests.C:
			if r, err := t.Store.RequestedReconciliation(ctx); err == nil && r != nil && (current == nil || current.Record.ID != r.ID) {
				return ingest.ErrRestartSession
			}
		case <-catalog.C:
			if w.altered(ctx) {
				return errSchemaChanged
			}
		}
	}
}

// schemaWatch compares the source's catalog with its state when the session started.
type schemaWatch struct {
	replicator   *Replicator
	conn         *pgx.Conn // nil while not connected
	signature    string
	fingerprints map[string]string
	withheld     []cdc.Problem           // as of the last check
	unpublished  []cdc.Problem           // optional tables that are not in the publication
	hazards      []cdc.PublicationHazard // as of the last check
}

func (w *schemaWatch) close(ctx context.Context) {
	if w.conn != nil {
		w.conn.Close(ctx)
	}
}

// altered reports whether the session must restart: other columns or tables can be read, or rows may have changed outside the replication
// stream. If a query fails it reports false.
func (w *schemaWatch) altered(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, catalogPoll)
	defer cancel()
	t := w.replicator
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := cdc.Connect(ctx, string(t.Settings.Source.URL))
		if err != nil {
			return false
		}
		w.conn = conn
	}
	t.observeClock(ctx, w.conn)
	if w.newHazard(ctx) {
		return true
	}
	now := &sourceState{conn: w.conn}
	if err := t.readCatalog(ctx, now); err != nil {
		return false
	}
	fingerprints, err := cdc.Fingerprints(ctx, w.conn, t.Settings.Source.Publication, t.Rules.Tables())
	if err != nil {
		return false
	}
	if sign(now.catalog.Signature(), fingerprints) != w.signature {
		return true
	}
	for table, fingerprint := range fingerprints {
		if !cdc.FingerprintsMatch(w.fingerprints[table], fingerprint) {
			return true
		}
	}
	w.updateWithheld(now.catalog.Withheld())
	for table, fingerprint := range fingerprints {
		if before := w.fingerprints[table]; before != fingerprint && t.Store.MoveFingerprint(ctx, table, before, fingerprint) != nil {
			return false // the next check retries it
		}
	}
	w.fingerprints = fingerprints
	return false
}

// updateWithheld warns of optional tables and columns that became unreadable since the last check. This does not restart the session.
func (w *schemaWatch) updateWithheld(problems []cdc.Problem) {
	w.replicator.warnOfWithheld(slices.DeleteFunc(slices.Clone(problems), func(p cdc.Problem) bool { return slices.Contains(w.withheld, p) }))
	w.withheld = problems
	w.replicator.Monitor.SetWithheld(slices.Concat(problems, w.unpublished))
}
