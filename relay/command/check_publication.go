package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

func (c *sourceCheck) publication(ctx context.Context) error {
	p, err := cdc.PublicationStatus(ctx, c.conn, c.cfg.Source.Publication, c.rules.Tables())
	if err != nil {
		return err
	}
	for _, problem := range p.Problems() {
		c.fail("publication", "%s: %s", p.Name, problem)
	}
	if p.ColumnLists != nil {
		c.warn("publication", "%s: it has column lists on %s; a migration that drops such a column fails, and mapped columns may be missing: take the tables out and add them without", p.Name, strings.Join(p.ColumnLists, ", "))
	}
	if p.Extra != nil && !p.AllTables && p.Schemas == nil {
		c.warn("publication", "%s: it also publishes %s, which the mapping does not read", p.Name, strings.Join(p.Extra, ", "))
	}
	sql := p.SQL()
	if len(sql) == 0 {
		if len(p.Problems()) == 0 {
			c.ok("publication", "%s has all mapped tables", p.Name)
		}
		return nil
	}
	may, err := c.mayPublish(ctx, p)
	if err != nil {
		return err
	}
	state := "does not exist"
	if p.Exists {
		state = "lacks mapped tables or operations"
	}
	if may && c.cfg.Source.CreatePublication {
		c.none("publication", "%s %s; run mends that", p.Name, state)
	} else {
		c.fail("publication", "%s %s; let %s run: %s", p.Name, state, p.Who(), strings.Join(sql, " "))
	}
	return nil
}

// mayPublish reports whether the role may make the publication what it should be.
func (c *sourceCheck) mayPublish(ctx context.Context, p cdc.Publication) (bool, error) {
	schemas, names := make([]string, len(p.Missing)), make([]string, len(p.Missing))
	for i, t := range p.Missing {
		schemas[i], names[i] = t.Schema, t.Name
	}
	var may bool
	err := c.conn.QueryRow(ctx, `SELECT CASE WHEN $1 THEN coalesce((SELECT pg_has_role(pubowner, 'USAGE') FROM pg_publication WHERE pubname = $2), false)
			ELSE has_database_privilege(current_database(), 'CREATE') END
		AND NOT EXISTS (SELECT FROM unnest($3::text[], $4::text[]) AS want (schema, name)
			JOIN pg_namespace n ON n.nspname = want.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
			WHERE NOT pg_has_role(c.relowner, 'USAGE'))`, p.Exists, p.Name, schemas, names).Scan(&may)
	if err != nil {
		return false, fmt.Errorf("look up who owns the mapped tables: %w", err)
	}
	return may, nil
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

// otherPublications looks for publications that make the IAM's own statements fail.
func (c *sourceCheck) otherPublications(ctx context.Context) error {
	query := withoutIdentity
	if c.server.Version >= 150000 {
		query += "\nUNION ALL\n" + listed
	}
	if c.server.Version >= 180000 {
		query += "\nUNION ALL\n" + generated
	}
	rows, err := c.conn.Query(ctx, query+"\nORDER BY 1, 2, 3")
	if err != nil {
		return fmt.Errorf("look at all publications: %w", err)
	}
	var publication, table, reason string
	found := 0
	if _, err := pgx.ForEachRow(rows, []any{&publication, &table, &reason}, func() error {
		found++
		c.fail("others", "publication %s makes UPDATE or DELETE on %s fail: %s, or take it out of the publication", publication, table, reason)
		return nil
	}); err != nil {
		return fmt.Errorf("look at all publications: %w", err)
	}
	if found == 0 {
		c.ok("others", "no publication makes the IAM's own UPDATE or DELETE fail")
	}
	return nil
}
