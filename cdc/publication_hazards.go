package cdc

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// PublicationHazard is a publication, of any program, because of which the server rejects UPDATE and DELETE on a table in the
// application's own sessions.
// https://www.postgresql.org/docs/current/logical-replication-publication.html
type PublicationHazard struct {
	Publication string
	Table       string // schema.name
	Reason      string // why, and how to fix the table
}

func (h PublicationHazard) String() string {
	return fmt.Sprintf("publication %s makes UPDATE or DELETE on %s fail: %s, or remove it from the publication", h.Publication, h.Table, h.Reason)
}

// PublicationHazards checks all publications and all tables of the database.
func PublicationHazards(ctx context.Context, conn *pgx.Conn) ([]PublicationHazard, error) {
	major := majorVersion(conn.PgConn())
	query := publishedTablesCTE(major) + withoutIdentity
	if major >= 15 {
		query += "\nUNION ALL\n" + uncoveredIdentity
	}
	if major >= 18 {
		query += "\nUNION ALL\n" + unpublishedGenerated
	}
	var all []PublicationHazard
	var h PublicationHazard
	err := queryEach(ctx, conn, query+"\nORDER BY 1, 2, 3", nil, []any{&h.Publication, &h.Table, &h.Reason}, func() { all = append(all, h) })
	if err != nil {
		return nil, fmt.Errorf("check the publications: %w", err)
	}
	return all, nil
}

// UnresolvedHazards returns the hazards that setup and run do not resolve: those of mapped tables in other publications, and those
// of other tables in the named publication.
func UnresolvedHazards(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) ([]PublicationHazard, error) {
	all, err := PublicationHazards(ctx, conn)
	return slices.DeleteFunc(all, func(h PublicationHazard) bool { return (h.Publication == name) == containsTable(tables, h.Table) }), err
}

// unpublishable selects the mapped tables that the named publication must not contain: those with replica identity FULL and an
// unpublished generated column. The publication need not exist.
const unpublishable = `SELECT n.nspname || '.' || c.relname
FROM unnest($2::text[], $3::text[]) AS want (schema, name)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind = 'r'
LEFT JOIN pg_publication p ON p.pubname = $1
WHERE ` + unpublishedColumn + ` ORDER BY 1`

// hazards adds to p the mapped tables whose UPDATE and DELETE the publication makes fail, or would make fail if it contained them.
func (p *Publication) hazards(ctx context.Context, conn *pgx.Conn, tables []*Table) error {
	all, err := PublicationHazards(ctx, conn)
	if err != nil {
		return err
	}
	for _, h := range all {
		switch {
		case h.Publication != p.Name || h.Reason == generatedReason && containsTable(tables, h.Table):
		case containsTable(tables, h.Table):
			p.Refused = append(p.Refused, h.Table+": "+h.Reason)
		case slices.Contains(p.Descendants, h.Table):
			p.Unwanted = append(p.Unwanted, h.Table)
		}
	}
	if majorVersion(conn.PgConn()) < 18 {
		return nil
	}
	schemas, names := schemasAndNames(tables)
	var table string
	return queryEach(ctx, conn, unpublishable, []any{p.Name, schemas, names}, []any{&table}, func() {
		p.Refused = append(p.Refused, fmt.Sprintf("%s: its replica identity FULL includes a generated column that the publication does not publish: "+
			"run ALTER TABLE %s REPLICA IDENTITY DEFAULT, which is sufficient with a primary key, or, if the column is stored, set publish_generated_columns = stored in the publication",
			table, quoteQualified(table)))
	})
}
