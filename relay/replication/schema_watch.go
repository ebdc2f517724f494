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
	// askedPoll is how often a running session looks whether a reconciliation was asked for, catalogPoll whether the source's
	// catalogue says that rows may have changed without the log telling.
	askedPoll   = time.Second
	catalogPoll = 5 * time.Second
)

// errCatalog ends a session whose tables are no longer what they were when it began.
var errSchemaChanged = errors.New("mapped tables or the publication changed")

// watchSource ends the session when the next one has something to reconcile. What it cannot learn now it learns later.
func (t *Replicator) watchSource(ctx context.Context, found *sourceState, begun *ingest.Reconciliation) error {
	asked, catalog := time.NewTicker(askedPoll), time.NewTicker(catalogPoll)
	defer asked.Stop()
	defer catalog.Stop()
	w := &schemaWatch{Replicator: t, signature: found.signature, prints: found.prints, withheld: found.withheld, unpublished: len(found.unpublished), hazards: found.hazards}
	defer w.close(context.WithoutCancel(ctx))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked.C:
			// Whoever stops reading the log here begins the next session at once.
			if r, err := t.Store.RequestedReconciliation(ctx); err == nil && r != nil && (begun == nil || begun.Record.ID != r.ID) {
				return ingest.ErrRestartSession
			}
		case <-catalog.C:
			if w.altered(ctx) {
				return errSchemaChanged
			}
		}
	}
}

// schemaWatch compares the source's catalogue with what a session began with.
type schemaWatch struct {
	*Replicator
	conn      *pgx.Conn // nil while there is none
	signature string
	prints    map[string]string
	// withheld counts as absent, as do so many others that the publication lacks.
	withheld    []cdc.Problem
	unpublished int
	hazards     []cdc.PublicationHazard // those of the last look
}

func (w *schemaWatch) close(ctx context.Context) {
	if w.conn != nil {
		w.conn.Close(ctx)
	}
}

// altered reports whether the session has to begin again: what can be read of the tables is something else, or their rows may have
// changed without the WAL saying so.
func (w *schemaWatch) altered(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, catalogPoll)
	defer cancel()
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := cdc.Connect(ctx, string(w.Settings.Source.URL))
		if err != nil {
			return false
		}
		w.conn = conn
	}
	w.observeClock(ctx, w.conn)
	if w.endangered(ctx) {
		return true
	}
	now := &sourceState{conn: w.conn}
	if err := w.describe(ctx, now); err != nil {
		return false
	}
	prints, err := cdc.Fingerprints(ctx, w.conn, w.Settings.Source.Publication, w.Rules.Tables())
	if err != nil {
		return false
	}
	if sign(now.catalog.Signature(), prints) != w.signature {
		return true
	}
	for table, print := range prints {
		if !cdc.FingerprintsMatch(w.prints[table], print) {
			return true
		}
	}
	w.withholds(now.catalog.Withheld())
	for table, print := range prints {
		if before := w.prints[table]; before != print && w.Store.MoveFingerprint(ctx, table, before, print) != nil {
			return false // the next look does it
		}
	}
	w.prints = prints
	return false
}

// withholds warns of what has come to count as absent since the last look. The session need not begin again for that.
func (w *schemaWatch) withholds(problems []cdc.Problem) {
	w.warnOfWithheld(slices.DeleteFunc(slices.Clone(problems), func(p cdc.Problem) bool { return slices.Contains(w.withheld, p) }))
	w.withheld = problems
	w.Monitor.SetWithheld(len(problems) + w.unpublished)
}
