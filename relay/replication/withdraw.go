package replication

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// withdraw takes tables out of the publication because of which the server refuses UPDATE and DELETE in the application, for example
// after a migration has dropped their key or made it deferrable. The application comes first: what the relay misses of such a table
// is found by a comparison when it is published again. It reports whether it has taken any out.
func (t *Replicator) withdraw(ctx context.Context, conn *pgx.Conn) (bool, error) {
	if !t.Settings.Source.CreatePublication {
		return false, nil
	}
	name := t.Settings.Source.Publication
	tables, err := cdc.WithdrawRefused(ctx, conn, name, t.Rules.Tables())
	if denied, ok := errors.AsType[*cdc.PermissionError](err); ok {
		t.Log.Warn("the publication makes UPDATE or DELETE on mapped tables fail, and the relay's role may not change it; change it as its owner", "publication", name, "problem", denied.Error())
		return false, nil
	}
	if err != nil || len(tables) == 0 {
		return false, err
	}
	t.Log.Warn("removed tables from the publication because it makes UPDATE and DELETE on them fail; they are published again and reconciled once they have a usable key",
		"publication", name, "tables", strings.Join(tables, ", "))
	return true, nil
}

// warnOfHazards warns of publications that make the application's statements fail and are not the relay's to change, except of those
// that are known, and returns all of them.
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
	return hazards, nil
}

// endangered reports whether the publication has come to make the application's statements fail, and the next session may change it.
func (w *schemaWatch) endangered(ctx context.Context) bool {
	before := w.hazards
	hazards, err := w.warnOfHazards(ctx, w.conn, before)
	if err != nil {
		return false // the next look sees it
	}
	w.hazards = hazards
	return w.Settings.Source.CreatePublication && slices.ContainsFunc(hazards, func(h cdc.PublicationHazard) bool {
		return h.Publication == w.Settings.Source.Publication && !slices.Contains(before, h)
	})
}
