package replication

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/ingest"
)

// sourceState is what a session knows of the source database, read once at its start.
type sourceState struct {
	conn    *pgx.Conn
	server  cdc.Server
	slot    cdc.SlotStatus
	catalog *cdc.Catalog
	owners  map[*cdc.Table]int
	// fingerprints are those of the tables, by name. They are taken before any row is read, so that a later change is noticed.
	fingerprints map[string]string
	// signature changes with what can be read of the tables.
	signature string
	plan      *ingest.SnapshotPlan // set by prepare
	// hazards are the publications that make statements fail; each has been logged.
	hazards []cdc.PublicationHazard
	// withheld lists the optional tables and columns that the role cannot read, unpublished those that are not in the publication.
	// Both are treated as absent.
	withheld, unpublished []cdc.Problem
}

// inspect checks the server and the mapped tables, and creates or extends the publication if the configuration allows it. Its error
// names every problem and its fix.
func (t *Replicator) inspect(ctx context.Context, conn *pgx.Conn) (*sourceState, error) {
	server, err := cdc.InspectServer(ctx, conn)
	if err != nil {
		return nil, err
	}
	if server.WALLevel != "logical" {
		return nil, fmt.Errorf("the server's wal_level is %s; set wal_level = logical in its configuration and restart it", server.WALLevel)
	}
	s := &sourceState{conn: conn, server: server}
	if err := t.withdraw(ctx, conn); err != nil {
		return nil, err
	}
	if err := t.readCatalog(ctx, s); err != nil {
		return nil, err
	}
	if problems := s.catalog.Problems(); len(problems) > 0 {
		// A publication that makes the IAM's statements fail is the more urgent error.
		if _, err := t.publication(ctx, conn, t.Rules.Tables()); err != nil {
			return nil, err
		}
		return nil, t.explain(ctx, conn, problems)
	}
	signature := s.catalog.Signature()
	s.withheld = s.catalog.Withheld()
	if err := t.publish(ctx, s); err != nil {
		return nil, err
	}
	for _, p := range s.catalog.Withheld() {
		if !slices.Contains(s.withheld, p) {
			s.unpublished = append(s.unpublished, p)
		}
	}
	if s.fingerprints, err = cdc.Fingerprints(ctx, conn, t.Settings.Source.Publication, t.Rules.Tables()); err != nil {
		return nil, err
	}
	s.signature = sign(signature, s.fingerprints)
	if s.hazards, err = t.warnOfHazards(ctx, conn, nil); err != nil {
		return nil, err
	}
	for _, w := range s.catalog.Warnings() {
		t.Log.Warn("a mapped table has properties that may be unintended", "problem", w.String())
	}
	t.warnOfWithheld(slices.Concat(s.withheld, s.unpublished))
	return s, nil
}

func (t *Replicator) warnOfWithheld(problems []cdc.Problem) {
	for _, p := range problems {
		t.Log.Warn("an optional table or column exists but cannot be used; treating it as absent", "problem", p.String())
	}
}

// readCatalog sets s.catalog.
func (t *Replicator) readCatalog(ctx context.Context, s *sourceState) (err error) {
	if s.catalog, err = cdc.ReadCatalog(ctx, s.conn, t.Rules.Tables()); err != nil {
		return err
	}
	return s.catalog.ApplyColumnLists(ctx, s.conn, t.Settings.Source.Publication)
}

// sign adds to the catalog's signature which tables are published: those that have a fingerprint.
func sign(signature string, fingerprints map[string]string) string {
	return signature + strings.Join(slices.Sorted(maps.Keys(fingerprints)), " ")
}

// explain returns all problems as one error. For a table that is missing because it was renamed it gives the new name.
func (t *Replicator) explain(ctx context.Context, conn *pgx.Conn, problems []cdc.Problem) error {
	relations, err := t.Store.Relations(ctx)
	if err != nil {
		return &ingestError{err}
	}
	texts := make([]string, len(problems))
	for i, p := range problems {
		_, name, _ := strings.Cut(p.Table, ".")
		renamed := ""
		if oid := relations[name]; oid != 0 {
			if renamed, err = cdc.RelationName(ctx, conn, oid); err != nil {
				return err
			}
		}
		if renamed == p.Table && p.Column == "" && p.IsMissing() {
			return fmt.Errorf("table %s was renamed back: %w", p.Table, cdc.ErrCatalogChanged)
		}
		if renamed != "" && renamed != p.Table {
			p.Text = "was renamed to " + renamed
			p.Fix = "rename it back, or change the name in the mapping; no change is lost meanwhile"
		}
		texts[i] = p.String()
	}
	return errors.New(strings.Join(texts, "\n"))
}

// publication reads the state of the publication. It refuses one that only its owner can correct.
func (t *Replicator) publication(ctx context.Context, conn *pgx.Conn, tables []*cdc.Table) (cdc.Publication, error) {
	name := t.Settings.Source.Publication
	status, err := cdc.PublicationStatus(ctx, conn, name, tables)
	if err != nil {
		return status, err
	}
	if problems := status.Problems(); len(problems) > 0 {
		return status, fmt.Errorf("publication %s: %s", name, strings.Join(problems, "\n"))
	}
	return status, nil
}

// publish adds missing tables to the publication, or returns the statements that its owner must run. Optional tables that cannot be
// added are treated as absent.
func (t *Replicator) publish(ctx context.Context, s *sourceState) error {
	name, tables := t.Settings.Source.Publication, s.catalog.Usable(t.Rules.Tables())
	status, err := t.publication(ctx, s.conn, tables)
	if err != nil {
		return err
	}
	sql := status.SQL()
	if len(sql) == 0 {
		return nil
	}
	if t.Settings.Source.CreatePublication {
		_, err = cdc.EnsurePublication(ctx, s.conn, name, tables)
		if err == nil {
			t.Log.Info("updated the publication", "publication", name)
			return nil
		}
	} else {
		err = fmt.Errorf("publication %s does not publish all mapped tables; as their owner, run: %s", name, strings.Join(sql, "; "))
	}
	if _, denied := errors.AsType[*cdc.PermissionError](err); t.Settings.Source.CreatePublication && !denied || !status.OptionalOnly() {
		return err
	}
	for _, table := range status.Missing {
		s.catalog.Withhold(table, "is not in publication "+name, strings.Join(sql, " "))
	}
	return nil
}
