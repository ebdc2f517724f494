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
	// Extra are the published tables (schema.name) that are not mapped, sorted.
	Extra []string
	// ColumnLists and RowFilters are the published tables (schema.name) that have one, sorted.
	ColumnLists, RowFilters []string
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
	published := map[string]bool{}
	var schema, table string
	var list, filter bool
	err = queryEach(ctx, conn, publishedTables, []any{name}, []any{&schema, &table, &list, &filter}, func() {
		full := schema + "." + table
		published[full] = true
		if !slices.ContainsFunc(tables, func(t *Table) bool { return t.Schema == schema && t.Name == table }) {
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
	var hasSchemas bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('pg_catalog.pg_publication_namespace') IS NOT NULL`).Scan(&hasSchemas); err != nil {
		return p, err
	}
	if hasSchemas {
		if err := queryEach(ctx, conn, publishedSchemas, []any{name}, []any{&schema}, func() { p.Schemas = append(p.Schemas, schema) }); err != nil {
			return p, err
		}
	}
	schemas, names := make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
	}
	var at int
	err = queryEach(ctx, conn, existingTables, []any{schemas, names}, []any{&at}, func() {
		if t := tables[at-1]; !published[t.Schema+"."+t.Name] {
			p.Missing = append(p.Missing, t)
		}
	})
	return p, err
}

// SQL is what makes the publication right, to be run by the owner of the tables: they are listed by name, without
// column lists or row filters, each of which can make the application's own statements or migrations fail. Extra tables
// are left alone. It is empty if nothing has to be done.
func (p Publication) SQL() []string {
	name := pgx.Identifier{p.Name}.Sanitize()
	names := make([]string, len(p.Missing))
	for i, t := range p.Missing {
		names[i] = quote(t)
	}
	list := strings.Join(names, ", ")
	var sql []string
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
	return problems
}

// EnsurePublication runs what SQL says, in one transaction, and returns the status after it. If the role may not, the error
// is a *PermissionError.
func EnsurePublication(ctx context.Context, conn *pgx.Conn, name string, tables []*Table) (Publication, error) {
	p, err := PublicationStatus(ctx, conn, name, tables)
	if err != nil {
		return Publication{}, err
	}
	statements := p.SQL()
	if len(statements) == 0 {
		return p, nil
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// The tables are locked against other changes of their definitions, such as a migration that is under way.
		for _, sql := range append([]string{"SET LOCAL lock_timeout = '10s'"}, statements...) {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
	action := fmt.Sprintf("make publication %s", name)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == codeNoPrivilege {
		return Publication{}, &PermissionError{Action: action, Who: p.Who(), SQL: statements, Err: err}
	}
	if err != nil {
		return Publication{}, fmt.Errorf("%s: %w", action, err)
	}
	return PublicationStatus(ctx, conn, name, tables)
}
