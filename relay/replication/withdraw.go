package replication

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// withdraw removes tables from the publication on which the server refuses UPDATE and DELETE because they are published, for example
// after a migration dropped their key or made it deferrable. The application takes precedence: a reconciliation finds the changes that the
// relay misses once the table is published again.
func (t *Replicator) withdraw(ctx context.Context, conn *pgx.Conn) error {
	if !t.Settings.Source.CreatePublication {
		return nil
	}
	name := t.Settings.Source.Publication
	tables, err := cdc.WithdrawRefused(ctx, conn, name, t.Rules.Tables())
	if denied, ok := errors.AsType[*cdc.PermissionError](err); ok {
		t.Log.Warn("the publication makes UPDATE or DELETE on mapped tables fail, and the relay's role may not change it; change it as its owner", "publication", name, "problem", denied.Error())
		return nil
	}
	if err != nil || len(tables) == 0 {
		return err
	}
	t.Log.Warn("removed tables from the publication because it makes UPDATE and DELETE on them fail; they are published again and reconciled once they have a usable key",
		"publication", name, "tables", strings.Join(tables, ", "))
	return nil
}

// warnOfHazards warns of publications that make the application's statements fail, except of known ones, and returns all of them. The
// monitor gets them, too.
func (t *Replicator) warnOfHazards(ctx context.Context, conn *pgx.Conn, known []cdc.PublicationHazard) ([]cdc.PublicationHazard, error) {
	hazards, err := cdc.PublicationHazards(ctx, conn)
	if err != nil {
		return known, err
	}
	for _, h := range hazards {
		if !slices.Contains(known, h) {
			t.Log.Warn("a publication makes UPDATE or DELETE on a table fail", "hazard", h.String())
		}
	}
	if len(hazards) == 0 && len(known) > 0 {
		t.Log.Info("no publication makes UPDATE or DELETE fail any longer")
	}
	t.Monitor.SetHazards(hazards)
	return hazards, nil
}

// newHazard reports whether the relay's publication began to make the application's statements fail since the last check, and the relay
// may change it, as the next session does.
func (w *schemaWatch) newHazard(ctx context.Context) bool {
	before, source := w.hazards, &w.replicator.Settings.Source
	hazards, err := w.replicator.warnOfHazards(ctx, w.conn, before)
	if err != nil {
		return false // the next check retries it
	}
	w.hazards = hazards
	return source.CreatePublication && slices.ContainsFunc(hazards, func(h cdc.PublicationHazard) bool {
		return h.Publication == source.Publication && !slices.Contains(before, h)
	})
}
