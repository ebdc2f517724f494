package relay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// askedPoll is how often a running session looks whether a reconciliation was asked for, catalogPoll whether the source's
	// catalogue says that rows may have changed without the log telling.
	askedPoll   = time.Second
	catalogPoll = 5 * time.Second
)

// errCatalog ends a session whose tables are no longer what they were when it began.
var errCatalog = errors.New("mapped tables or the publication were altered")

// watchSource ends the session when the next one has something to reconcile. What it cannot learn now it learns later.
func (t *term) watchSource(ctx context.Context, prints map[string]string, begun *reconciliation) error {
	asked, catalog := time.NewTicker(askedPoll), time.NewTicker(catalogPoll)
	defer asked.Stop()
	defer catalog.Stop()
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-asked.C:
			// Whoever stops reading the log here begins the next session at once.
			if r, err := t.store.AskedReconciliation(ctx); err == nil && r != nil && (begun == nil || begun.record.ID != r.ID) {
				return errAnew
			}
		case <-catalog.C:
			var altered bool
			if conn, altered = t.altered(ctx, conn, prints); altered {
				return errCatalog
			}
		}
	}
}

// altered compares the fingerprints with those that the session began with.
func (t *term) altered(ctx context.Context, conn *pgx.Conn, prints map[string]string) (*pgx.Conn, bool) {
	ctx, cancel := context.WithTimeout(ctx, catalogPoll)
	defer cancel()
	if conn == nil || conn.IsClosed() {
		var err error
		if conn, err = cdc.Connect(ctx, string(t.config.Source.URL)); err != nil {
			return nil, false
		}
	}
	t.sourceClock(ctx, conn)
	now, err := cdc.Fingerprints(ctx, conn, t.config.Source.Publication, t.rules.Tables())
	return conn, err == nil && !maps.Equal(now, prints)
}

// startAnew tells what is lost of the old log, and begins the new one.
func (t *term) startAnew(ctx context.Context, in *ingest, r *reconciliation) error {
	switch err := t.finished(r.record, in.reconcile(ctx, r)); {
	case errors.Is(err, errAnew) || errors.Is(err, errFinished):
		return err
	case err != nil:
		return &ingestError{fmt.Errorf("reconcile: %w", err)}
	}
	r.close()
	t.hole = nil
	if err := in.readSubscriptions(ctx); err != nil {
		return &ingestError{err}
	}
	return nil
}

// finished ends the session if the relay runs for this reconciliation only.
func (t *term) finished(record outbox.Reconciliation, err error) error {
	if t.only != 0 && record.ID == t.only && (err == nil || errors.Is(err, errAnew)) {
		return errFinished
	}
	return err
}

// errFinished ends a relay that runs for one reconciliation only.
var errFinished = errors.New("the reconciliation is finished")
