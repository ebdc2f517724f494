package cdc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Hazard is a publication, of whatever tool, by which the server refuses the UPDATE and DELETE of a table in the application's
// own sessions.
type Hazard struct {
	Publication string
	Table       string // schema.name
	Reason      string
}

func (h Hazard) String() string {
	return fmt.Sprintf("publication %s makes UPDATE or DELETE on %s fail: %s, or take it out of the publication", h.Publication, h.Table, h.Reason)
}

// Tables whose UPDATE and DELETE the server refuses in the application's own sessions, by way of any publication of the
// database, also of other tools: https://www.postgresql.org/docs/current/logical-replication-publication.html
const (
	// withoutIdentity: the table has no replica identity by which a subscriber could find the row.
	withoutIdentity = `SELECT t.pubname, n.nspname || '.' || c.relname, 'it has no replica identity: give it a primary key'
FROM pg_publication_tables t
JOIN pg_publication p ON p.pubname = t.pubname AND (p.pubupdate OR p.pubdelete)
JOIN pg_namespace n ON n.nspname = t.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
WHERE CASE c.relreplident
        WHEN 'f' THEN false
        WHEN 'n' THEN true
        WHEN 'd' THEN NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
        ELSE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid)
      END`
	// listed: a column list, or a row filter, that does not cover the replica identity; PostgreSQL 15 and newer.
	listed = `SELECT p.pubname, n.nspname || '.' || c.relname, 'its column list does not cover the replica identity'
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.prattrs IS NOT NULL AND (c.relreplident = 'f' OR EXISTS (
  SELECT FROM pg_index i, unnest(i.indkey::int2[]) k
  WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)
    AND k <> ALL (r.prattrs::int2[])))
UNION ALL
SELECT p.pubname, n.nspname || '.' || c.relname, 'its row filter uses a column outside of the replica identity'
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = r.prrelid AND c.relreplident <> 'f'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.prqual IS NOT NULL AND EXISTS (
  SELECT FROM regexp_matches(r.prqual::text, ':varattno (\d+)', 'g') AS v (attno)
  WHERE NOT EXISTS (SELECT FROM pg_index i, unnest(i.indkey::int2[]) k
    WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)
      AND k = v.attno[1]::int2))`
	// generated: replica identity FULL with a stored generated column that is not published; PostgreSQL 18 and newer.
	generated = `SELECT t.pubname, n.nspname || '.' || c.relname, 'its replica identity FULL has a generated column that is not published'
FROM pg_publication_tables t
JOIN pg_publication p ON p.pubname = t.pubname AND (p.pubupdate OR p.pubdelete) AND p.pubgencols <> 's'
JOIN pg_namespace n ON n.nspname = t.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename AND c.relreplident = 'f'
WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 's' AND NOT a.attisdropped)`
)

// Hazards looks at all publications and all tables of the database.
func Hazards(ctx context.Context, conn *pgx.Conn) ([]Hazard, error) {
	query := withoutIdentity
	if majorVersion(conn.PgConn()) >= 15 {
		query += "\nUNION ALL\n" + listed
	}
	if majorVersion(conn.PgConn()) >= 18 {
		query += "\nUNION ALL\n" + generated
	}
	var all []Hazard
	var h Hazard
	err := queryEach(ctx, conn, query+"\nORDER BY 1, 2, 3", nil, []any{&h.Publication, &h.Table, &h.Reason}, func() { all = append(all, h) })
	if err != nil {
		return nil, fmt.Errorf("look at all publications: %w", err)
	}
	return all, nil
}

// MappedHazards are those that publications other than the named one are to the mapped tables.
func MappedHazards(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) ([]Hazard, error) {
	all, err := Hazards(ctx, conn)
	return slices.DeleteFunc(all, func(h Hazard) bool { return h.Publication == name || !among(tables, h.Table) }), err
}

func among(tables []*Table, name string) bool {
	return slices.ContainsFunc(tables, func(t *Table) bool { return t.Schema+"."+t.Name == name })
}

// unpublishable are the mapped tables that must not be added to the named publication as it is, or would be made: FULL with a
// stored generated column.
const unpublishable = `SELECT n.nspname || '.' || c.relname
FROM unnest($2::text[], $3::text[]) AS want (schema, name)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind = 'r' AND c.relreplident = 'f'
WHERE EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated = 's' AND NOT a.attisdropped)
  AND NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = $1 AND p.pubgencols = 's') ORDER BY 1`

// hazards says of which mapped tables the publication makes the application's own UPDATE and DELETE fail, or would.
func (p *Publication) hazards(ctx context.Context, conn *pgx.Conn, tables []*Table) error {
	all, err := Hazards(ctx, conn)
	if err != nil {
		return err
	}
	for _, h := range all {
		if h.Publication == p.Name && among(tables, h.Table) && !strings.Contains(h.Reason, "generated") {
			p.Refused = append(p.Refused, h.Table+": "+h.Reason)
		}
	}
	if majorVersion(conn.PgConn()) < 18 {
		return nil
	}
	schemas, names := make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
	}
	var table string
	return queryEach(ctx, conn, unpublishable, []any{p.Name, schemas, names}, []any{&table}, func() {
		p.Refused = append(p.Refused, fmt.Sprintf("%s: its replica identity FULL has a generated column, which the publication leaves out: "+
			"ALTER TABLE %s REPLICA IDENTITY DEFAULT if it has a primary key, which is enough, or set publish_generated_columns = stored in the publication", table, quoteName(table)))
	})
}

func quoteName(table string) string {
	return pgx.Identifier(strings.SplitN(table, ".", 2)).Sanitize()
}
