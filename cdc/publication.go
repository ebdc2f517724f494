package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Publication is the state of a publication in relation to the mapped tables.
type Publication struct {
	Name   string
	Exists bool
	Owner  string
	// AllTables: it publishes every table, also those of other schemas and those without a key, whose updates then fail.
	AllTables bool
	// Schemas are those it publishes as a whole.
	Schemas []string
	// Missing are the mapped tables that exist but are not published.
	Missing []*Table
	// Extra are the published tables (schema.name) that are neither mapped nor descendants of a mapped table, sorted.
	Extra []string
	// Descendants are the published inheritance children of mapped tables that are not mapped themselves (schema.name), sorted.
	// They come with a table that is named without ONLY.
	Descendants []string
	// Unwanted are those Descendants whose UPDATE and DELETE the server refuses because of it.
	Unwanted []string
	// Hidden are the mapped partitions (schema.name) whose changes it publishes under the name of a partitioned table, sorted.
	Hidden []string
	// ColumnLists and RowFilters are the published tables (schema.name) that have one, sorted.
	ColumnLists, RowFilters []string
	// Refused says of mapped tables (schema.name) why the server refuses UPDATE and DELETE to the application because of this
	// publication, or would if it had them.
	Refused []string
	// Unpublished are the operations that it leaves out, of insert, update, delete and truncate.
	Unpublished []string
}

const publicationStatus = `
SELECT pg_get_userbyid(p.pubowner), p.puballtables,
       array_remove(ARRAY[CASE WHEN NOT p.pubinsert THEN 'insert' END, CASE WHEN NOT p.pubupdate THEN 'update' END,
                          CASE WHEN NOT p.pubdelete THEN 'delete' END, CASE WHEN NOT p.pubtruncate THEN 'truncate' END], NULL)
FROM pg_publication p WHERE p.pubname = $1`

// The column list and the row filter (PostgreSQL 15 and newer) are read by way of JSON.
const publishedTables = `
SELECT t.schemaname, t.tablename, coalesce(to_jsonb(r)->>'prattrs' IS NOT NULL, false), coalesce(to_jsonb(r)->>'prqual' IS NOT NULL, false)
FROM pg_publication_tables t
JOIN pg_publication p ON p.pubname = t.pubname
JOIN pg_namespace n ON n.nspname = t.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
WHERE t.pubname = $1 ORDER BY 1, 2`

// descendants are all tables that inherit from the given ones, as children or as partitions.
const descendants = `
WITH RECURSIVE down (relation) AS (
  SELECT i.inhrelid FROM unnest($1::text[], $2::text[]) AS want (schema, name)
    JOIN pg_namespace n ON n.nspname = want.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
    JOIN pg_inherits i ON i.inhparent = c.oid
  UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.relation
)
SELECT n.nspname || '.' || c.relname FROM down JOIN pg_class c ON c.oid = down.relation JOIN pg_namespace n ON n.oid = c.relnamespace`

// hiddenTables are those of which a partitioned table is published, by publish_via_partition_root under its own name.
const hiddenTables = `
WITH RECURSIVE up (at, relation) AS (
  SELECT want.at, i.inhparent FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS want (schema, name, at)
    JOIN pg_namespace n ON n.nspname = want.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relispartition
    JOIN pg_inherits i ON i.inhrelid = c.oid
  UNION SELECT up.at, i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.relation
)
SELECT DISTINCT up.at FROM up JOIN pg_class c ON c.oid = up.relation JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_publication_tables t ON t.schemaname = n.nspname AND t.tablename = c.relname
JOIN pg_publication p ON p.pubname = t.pubname AND p.pubviaroot
WHERE p.pubname = $1 ORDER BY 1`

const publishedSchemas = `
SELECT n.nspname FROM pg_publication_namespace s
JOIN pg_publication p ON p.oid = s.pnpubid JOIN pg_namespace n ON n.oid = s.pnnspid
WHERE p.pubname = $1 ORDER BY 1`

const existingTables = `
SELECT want.at FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS want (schema, name, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name AND c.relkind = 'r'`

// PublicationStatus compares a publication with the mapped tables. That it does not exist is no error.
func PublicationStatus(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) (Publication, error) {
	p, err := publicationOf(ctx, conn, name, tables)
	if err != nil {
		return Publication{}, fmt.Errorf("read the state of publication %s: %w", name, err)
	}
	return p, nil
}

func publicationOf(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) (Publication, error) {
	p := Publication{Name: name, Exists: true}
	err := conn.QueryRow(ctx, publicationStatus, name).Scan(&p.Owner, &p.AllTables, &p.Unpublished)
	if errors.Is(err, pgx.ErrNoRows) {
		p.Exists = false
	} else if err != nil {
		return p, err
	}
	schemas, names := schemasAndNames(tables)
	var below []string
	var schema, table string
	if err := queryEach(ctx, conn, descendants, []any{schemas, names}, []any{&table}, func() { below = append(below, table) }); err != nil {
		return p, err
	}
	published := map[string]bool{}
	var list, filter bool
	err = queryEach(ctx, conn, publishedTables, []any{name}, []any{&schema, &table, &list, &filter}, func() {
		full := schema + "." + table
		published[full] = true
		switch {
		case containsTable(tables, full):
		case slices.Contains(below, full):
			p.Descendants = append(p.Descendants, full)
		default:
			p.Extra = append(p.Extra, full)
		}
		if list {
			p.ColumnLists = append(p.ColumnLists, full)
		}
		if filter {
			p.RowFilters = append(p.RowFilters, full)
		}
	})
	if err != nil {
		return p, err
	}
	if err := p.hazards(ctx, conn, tables); err != nil {
		return p, err
	}
	if majorVersion(conn.PgConn()) >= 15 {
		if err := queryEach(ctx, conn, publishedSchemas, []any{name}, []any{&schema}, func() { p.Schemas = append(p.Schemas, schema) }); err != nil {
			return p, err
		}
	}
	var at int
	err = queryEach(ctx, conn, hiddenTables, []any{name, schemas, names}, []any{&at}, func() { p.Hidden = append(p.Hidden, qualifiedName(tables[at-1])) })
	if err != nil {
		return p, err
	}
	slices.Sort(p.Hidden)
	err = queryEach(ctx, conn, existingTables, []any{schemas, names}, []any{&at}, func() {
		if full := qualifiedName(tables[at-1]); !published[full] && !slices.Contains(p.Hidden, full) {
			p.Missing = append(p.Missing, tables[at-1])
		}
	})
	return p, err
}

// SQL is what makes the publication right, to be run by the owner of the tables: they are listed by name and with ONLY, without
// column lists or row filters, each of which can make the application's own statements or migrations fail. Extra tables
// are left alone, and of the descendants those that do no harm. It is empty if nothing has to be done.
func (p Publication) SQL() []string {
	name := pgx.Identifier{p.Name}.Sanitize()
	names := make([]string, len(p.Missing))
	for i, t := range p.Missing {
		names[i] = "ONLY " + quoteTable(t)
	}
	list := strings.Join(names, ", ")
	var sql []string
	for _, table := range p.Unwanted {
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s;", name, quoteQualified(table)))
	}
	switch {
	case p.Exists && list != "":
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s;", name, list))
	case !p.Exists && list != "":
		sql = append(sql, fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s;", name, list))
	case !p.Exists:
		sql = append(sql, fmt.Sprintf("CREATE PUBLICATION %s;", name))
	}
	if len(p.Unpublished) > 0 {
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate');", name))
	}
	return sql
}

// Who may run SQL. An owner of the tables cannot change a publication that somebody else has made for them.
func (p Publication) Who() string {
	if p.Exists {
		return fmt.Sprintf("role %s, which owns the publication,", p.Owner)
	}
	return "the owner of the tables"
}

// OptionalOnly reports whether nothing is missing but optional tables.
func (p Publication) OptionalOnly() bool {
	return p.Exists && len(p.Unpublished) == 0 && !slices.ContainsFunc(p.Missing, func(t *Table) bool { return !t.Optional })
}

// Problems lists what SQL does not put right, because somebody has chosen it.
func (p Publication) Problems() []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	name := pgx.Identifier{p.Name}.Sanitize()
	if p.AllTables {
		add("it is FOR ALL TABLES, which makes UPDATE and DELETE fail on every table without a primary key; DROP PUBLICATION %s and run setup", name)
	}
	if p.Schemas != nil {
		add("it publishes whole schemas (%s), which makes UPDATE and DELETE fail on their tables without a primary key; ALTER PUBLICATION %s DROP TABLES IN SCHEMA", strings.Join(p.Schemas, ", "), name)
	}
	if p.RowFilters != nil {
		add("it has row filters on %s, so changes are missing from the log; take the tables out and add them without", strings.Join(p.RowFilters, ", "))
	}
	if p.Hidden != nil {
		add("it has publish_via_partition_root and a partitioned table, so changes of its partitions (%s) come under another name; ALTER PUBLICATION %s SET (publish_via_partition_root = false)", strings.Join(p.Hidden, ", "), name)
	}
	for _, reason := range p.Refused {
		add("with it, UPDATE and DELETE fail in the application on %s", reason)
	}
	return problems
}

// EnsurePublication runs what SQL says, in one transaction, and returns the status after it. If the role may not, the error
// is a *PermissionError.
//
// It waits for the locks of others only in short attempts: while it has locks on some tables and waits for another one's, a migration
// waits for it, and behind that the application's own statements. Another relay may do the same at the same time.
func EnsurePublication(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) (Publication, error) {
	action := fmt.Sprintf("create or alter publication %s", name)
	for attempt := 1; ; attempt++ {
		p, err := PublicationStatus(ctx, conn, name, tables)
		if err != nil {
			return Publication{}, err
		}
		statements := p.SQL()
		if len(statements) == 0 {
			return p, nil
		}
		err = execAll(ctx, conn, statements)
		if err == nil {
			return PublicationStatus(ctx, conn, name, tables)
		}
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		switch {
		case ok && pgErr.Code == codeNoPrivilege:
			return Publication{}, &PermissionError{Action: action, Who: p.Who(), SQL: statements, Err: err}
		case !ok || !isTransientDDL(pgErr) || attempt == publicationAttempts:
			return Publication{}, fmt.Errorf("%s: %w", action, err)
		}
		if err := sleep(ctx, publicationRetryDelay); err != nil {
			return Publication{}, err
		}
	}
}

// publicationLock is shorter than deadlock_timeout, so that the server never ends the application's transaction in favour of this one.
const (
	publicationLockTimeout     = "300ms"
	publicationRetryDelay    = 200 * time.Millisecond
	publicationAttempts = 50
)

func execAll(ctx context.Context, conn *pgx.Conn, statements []string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range append([]string{"SET LOCAL lock_timeout = '" + publicationLockTimeout + "'"}, statements...) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

// passesSoon reports whether a change of a publication failed only because of what others were doing at that moment.
func isTransientDDL(err *pgconn.PgError) bool {
	switch err.Code {
	case codeLockNotAvailable, codeDuplicateObject, codeUniqueViolation, codeDeadlock:
		return true
	}
	return err.Code == codeInternal && strings.Contains(err.File, "heapam") // tuple concurrently updated
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
