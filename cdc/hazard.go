package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// identityIndex is true of the index i that is the replica identity of table c. An index that is not valid, or that is checked
// only at COMMIT, is none, also that of the primary key (RelationGetIndexList in relcache.c).
const identityIndex = `i.indrelid = c.oid AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident)`

// published are all tables of all publications, also by way of a schema or of a partitioned table, under their own names.
func publishedTablesCTE(major int) string {
	schemas := ""
	if major >= 15 {
		schemas = `
  UNION SELECT s.pnpubid, c.oid FROM pg_publication_namespace s
    JOIN pg_class c ON c.relnamespace = s.pnnspid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p'`
	}
	return `WITH RECURSIVE published (publication, relation) AS (
  SELECT p.oid, c.oid FROM pg_publication p, pg_class c
    WHERE p.puballtables AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND c.oid >= 16384
  UNION SELECT prpubid, prrelid FROM pg_publication_rel` + schemas + `
  UNION SELECT m.publication, i.inhrelid FROM published m
    JOIN pg_inherits i ON i.inhparent = m.relation JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
)
`
}

// Tables whose UPDATE and DELETE the server refuses in the application's own sessions, by way of any publication of the
// database, also of other tools: https://www.postgresql.org/docs/current/logical-replication-publication.html
const (
	// withoutIdentity: the table has no replica identity by which a subscriber could find the row.
	withoutIdentity = `SELECT p.pubname, n.nspname || '.' || c.relname,
  CASE WHEN c.relreplident = 'd' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND NOT i.indimmediate)
    THEN 'its primary key is deferrable and so not a replica identity: make the key NOT DEFERRABLE'
    ELSE 'it has no replica identity: give it a primary key' END
FROM published m
JOIN pg_publication p ON p.oid = m.publication AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = m.relation AND c.relkind = 'r'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relreplident <> 'f' AND NOT EXISTS (SELECT FROM pg_index i WHERE ` + identityIndex + `)`
	// listed: a column list, or a row filter, that does not cover the replica identity; PostgreSQL 15 and newer.
	uncoveredIdentity = `SELECT p.pubname, n.nspname || '.' || c.relname, 'its column list does not cover the replica identity'
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.prattrs IS NOT NULL AND (c.relreplident = 'f' OR EXISTS (
  SELECT FROM pg_index i, unnest(i.indkey::int2[]) k WHERE ` + identityIndex + ` AND k <> ALL (r.prattrs::int2[])))
UNION ALL
SELECT p.pubname, n.nspname || '.' || c.relname, 'its row filter uses a column outside of the replica identity'
FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = r.prrelid AND c.relreplident <> 'f'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE r.prqual IS NOT NULL AND EXISTS (
  SELECT FROM regexp_matches(r.prqual::text, ':varattno (\d+)', 'g') AS v (attno)
  WHERE NOT EXISTS (SELECT FROM pg_index i, unnest(i.indkey::int2[]) k WHERE ` + identityIndex + ` AND k = v.attno[1]::int2))`
	// unpublishedColumn is true of table c with replica identity FULL if publication p leaves out a generated column of it: a stored
	// one unless it is told to publish those, and every virtual one. PostgreSQL 18 and newer.
	unpublishedColumn = `c.relreplident = 'f' AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  AND (a.attgenerated = 'v' OR a.attgenerated = 's' AND p.pubgencols IS DISTINCT FROM 's'))`
	// generated: replica identity FULL with a generated column that is not published.
	unpublishedGenerated = `SELECT p.pubname, n.nspname || '.' || c.relname, '` + generatedReason + `'
FROM published m
JOIN pg_publication p ON p.oid = m.publication AND (p.pubupdate OR p.pubdelete)
JOIN pg_class c ON c.oid = m.relation AND c.relkind = 'r'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE ` + unpublishedColumn
	generatedReason = `its replica identity FULL has a generated column that is not published`
)

// Hazards looks at all publications and all tables of the database.
func Hazards(ctx context.Context, conn *pgx.Conn) ([]Hazard, error) {
	major := majorVersion(conn.PgConn())
	query := publishedTablesCTE(major) + withoutIdentity
	if major >= 15 {
		query += "\nUNION ALL\n" + uncoveredIdentity
	}
	if major >= 18 {
		query += "\nUNION ALL\n" + unpublishedGenerated
	}
	var all []Hazard
	var h Hazard
	err := queryEach(ctx, conn, query+"\nORDER BY 1, 2, 3", nil, []any{&h.Publication, &h.Table, &h.Reason}, func() { all = append(all, h) })
	if err != nil {
		return nil, fmt.Errorf("look at all publications: %w", err)
	}
	return all, nil
}

// OtherHazards are those that setup and run do not remove: what publications other than the named one do to the mapped tables, and
// what the named one does to tables that are not mapped.
func OtherHazards(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) ([]Hazard, error) {
	all, err := Hazards(ctx, conn)
	return slices.DeleteFunc(all, func(h Hazard) bool { return (h.Publication == name) == containsTable(tables, h.Table) }), err
}

func containsTable(tables []*Table, name string) bool {
	return slices.ContainsFunc(tables, func(t *Table) bool { return t.Schema+"."+t.Name == name })
}

// unpublishable are the mapped tables that must not be in the named publication as it is, or would be made: FULL with a generated
// column.
const unpublishable = `SELECT n.nspname || '.' || c.relname
FROM unnest($2::text[], $3::text[]) AS want (schema, name)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind = 'r'
LEFT JOIN pg_publication p ON p.pubname = $1
WHERE ` + unpublishedColumn + ` ORDER BY 1`

// hazards says of which mapped tables the publication makes the application's own UPDATE and DELETE fail, or would.
func (p *Publication) hazards(ctx context.Context, conn *pgx.Conn, tables []*Table) error {
	all, err := Hazards(ctx, conn)
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
		p.Refused = append(p.Refused, fmt.Sprintf("%s: its replica identity FULL has a generated column, which the publication leaves out: "+
			"ALTER TABLE %s REPLICA IDENTITY DEFAULT if it has a primary key, which is enough, or, if the column is stored, set publish_generated_columns = stored in the publication", table, quoteQualified(table)))
	})
}

// WithdrawRefused takes those mapped tables out of the named publication because of which the server refuses UPDATE and DELETE in the
// application's own sessions, and returns them (schema.name, sorted). Tables that are in it by way of a schema or of a partitioned
// table are left: see Publication.Problems. If the role may not, the error is a *PermissionError.
func WithdrawRefused(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) ([]string, error) {
	hazards, err := Hazards(ctx, conn)
	if err != nil {
		return nil, err
	}
	var named []string
	var table string
	if err := queryEach(ctx, conn, namedTables, []any{name}, []any{&table}, func() { named = append(named, table) }); err != nil {
		return nil, fmt.Errorf("look up the tables of publication %s: %w", name, err)
	}
	var refused, statements []string
	for _, h := range hazards {
		if h.Publication == name && containsTable(tables, h.Table) && slices.Contains(named, h.Table) && !slices.Contains(refused, h.Table) {
			refused = append(refused, h.Table)
			statements = append(statements, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s;", pgx.Identifier{name}.Sanitize(), quoteQualified(h.Table)))
		}
	}
	if len(statements) == 0 {
		return nil, nil
	}
	err = execAll(ctx, conn, statements)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == codeNoPrivilege {
		return nil, &PermissionError{Action: "alter publication " + name, Who: "its owner", SQL: statements, Err: err}
	}
	if err != nil {
		return nil, fmt.Errorf("alter publication %s: %w", name, err)
	}
	return refused, nil
}

// namedTables are those that a publication names, and not only by way of a schema or of a partitioned table.
const namedTables = `SELECT n.nspname || '.' || c.relname FROM pg_publication_rel r
JOIN pg_publication p ON p.oid = r.prpubid JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = $1 ORDER BY 1`

// tableNames are the schemas and the names of tables.
func schemasAndNames(tables []*Table) (schemas, names []string) {
	schemas, names = make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
	}
	return schemas, names
}

// columnNames are, for each table, the names of its mapped columns, one a line.
func columnNames(tables []*Table) []string {
	all := make([]string, len(tables))
	for i, t := range tables {
		names := make([]string, len(t.Columns))
		for j := range t.Columns {
			names[j] = t.Columns[j].Name
		}
		all[i] = strings.Join(names, "\n")
	}
	return all
}

func quoteQualified(table string) string {
	return pgx.Identifier(strings.SplitN(table, ".", 2)).Sanitize()
}
