package replication

import (
	"context"
	"errors"
	"slices"
	"sync"
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
func (t *Replicator) watchSource(ctx context.Context, w *schemaWatch, current *ingest.Reconciliation) error {
	requests, catalog := time.NewTicker(requestPoll), time.NewTicker(catalogPoll)
	defer requests.Stop()
	defer catalog.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-requests.C:
			if r, err := t.Store.RequestedReconciliation(ctx); err == nil && r != nil && (current == nil || current.Record.ID != r.ID) {
				return ingest.ErrRestartSession
			}
		case <-catalog.C:
			if altered, err := w.altered(ctx); err == nil && altered {
				return errSchemaChanged
			}
		}
	}
}

// schemaWatch compares the source's catalog with its state when the session started.
type schemaWatch struct {
	replicator   *Replicator
	clock        *sourceClock
	mu           sync.Mutex // guards what follows
	conn         *pgx.Conn  // nil while not connected
	signature    string
	fingerprints map[string]string
	withheld     []cdc.Problem           // as of the last check
	unpublished  []cdc.Problem           // optional tables that are not in the publication
	hazards      []cdc.PublicationHazard // as of the last check
}

// newSchemaWatch returns a watch that must be closed. It reads the clock only while it verifies.
func (t *Replicator) newSchemaWatch(found *sourceState, clock *sourceClock) *schemaWatch {
	return &schemaWatch{
		replicator: t, clock: clock, signature: found.signature, fingerprints: found.fingerprints, withheld: found.withheld,
		unpublished: found.unpublished, hazards: found.hazards,
	}
}

// verify checks the catalog at once. It returns an LSN before which no transaction was committed with another catalog, or an error that ends
// the session: errSchemaChanged, or the failure of the check.
func (w *schemaWatch) verify(ctx context.Context) (cdc.LSN, error) {
	now, _, err := w.clock.read(ctx)
	if err != nil {
		return 0, &verificationError{err}
	}
	altered, err := w.altered(ctx)
	switch {
	case err != nil:
		return 0, &verificationError{err}
	case altered:
		return 0, errSchemaChanged
	}
	return now, nil
}

// verificationError marks a failure of the source while ingestion asked it.
type verificationError struct{ err error }

func (e *verificationError) Error() string { return "check the source's catalog: " + e.err.Error() }
func (e *verificationError) Unwrap() error { return e.err }

func (w *schemaWatch) close(ctx context.Context) {
	if w.conn != nil {
		w.conn.Close(ctx)
	}
}

// altered reports whether the session must restart: other columns or tables can be read, or rows may have changed outside the replication
// stream.
func (w *schemaWatch) altered(ctx context.Context) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, catalogPoll)
	defer cancel()
	t := w.replicator
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := cdc.Connect(ctx, string(t.Settings.Source.URL))
		if err != nil {
			return false, err
		}
		w.conn = conn
	}
	t.observeClock(ctx, w.conn)
	if w.newHazard(ctx) {
		return true, nil
	}
	now := &sourceState{conn: w.conn}
	if err := t.readCatalog(ctx, now); err != nil {
		return false, err
	}
	fingerprints, err := cdc.Fingerprints(ctx, w.conn, t.Settings.Source.Publication, t.Rules.Tables())
	if err != nil {
		return false, err
	}
	if sign(now.catalog.Signature(), fingerprints) != w.signature {
		return true, nil
	}
	for table, fingerprint := range fingerprints {
		if !cdc.FingerprintsMatch(w.fingerprints[table], fingerprint) {
			return true, nil
		}
	}
	w.updateWithheld(now.catalog.Withheld())
	for table, fingerprint := range fingerprints {
		before := w.fingerprints[table]
		if before == fingerprint {
			continue
		}
		if err := t.Store.MoveFingerprint(ctx, table, before, fingerprint); err != nil {
			return false, err // the next check retries it
		}
	}
	w.fingerprints = fingerprints
	return false, nil
}

// updateWithheld warns of optional tables and columns that became unreadable since the last check. This does not restart the session.
func (w *schemaWatch) updateWithheld(problems []cdc.Problem) {
	w.replicator.warnOfWithheld(slices.DeleteFunc(slices.Clone(problems), func(p cdc.Problem) bool { return slices.Contains(w.withheld, p) }))
	w.withheld = problems
	w.replicator.Monitor.SetWithheld(slices.Concat(problems, w.unpublished))
}
