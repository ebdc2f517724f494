package cdc

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

const publicationStatus = `
SELECT pg_get_userbyid(p.pubowner), p.puballtables,
       array_remove(ARRAY[CASE WHEN NOT p.pubinsert THEN 'insert' END, CASE WHEN NOT p.pubupdate THEN 'update' END,
                          CASE WHEN NOT p.pubdelete THEN 'delete' END, CASE WHEN NOT p.pubtruncate THEN 'truncate' END], NULL)
FROM pg_publication p WHERE p.pubname = $1`

// The column list and the row filter (PostgreSQL 15 and newer) are read as JSON, which gives NULL where the columns do not exist.
const publishedTables = `
SELECT t.schemaname, t.tablename, coalesce(to_jsonb(r)->>'prattrs' IS NOT NULL, false), coalesce(to_jsonb(r)->>'prqual' IS NOT NULL, false)
FROM pg_publication_tables t
JOIN pg_publication p ON p.pubname = t.pubname
JOIN pg_namespace n ON n.nspname = t.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
LEFT JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
WHERE t.pubname = $1 ORDER BY 1, 2`

// descendants selects all tables that inherit from the given ones, as children or as partitions.
const descendants = `
WITH RECURSIVE down (relation) AS (
  SELECT i.inhrelid FROM unnest($1::text[], $2::text[]) AS want (schema, name)
    JOIN pg_namespace n ON n.nspname = want.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
    JOIN pg_inherits i ON i.inhparent = c.oid
  UNION SELECT i.inhrelid FROM down JOIN pg_inherits i ON i.inhparent = down.relation
)
SELECT n.nspname || '.' || c.relname FROM down JOIN pg_class c ON c.oid = down.relation JOIN pg_namespace n ON n.oid = c.relnamespace`

// hiddenTables selects the tables of which a partitioned ancestor is published with publish_via_partition_root.
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

// PublicationStatus compares a publication with the mapped tables. If the publication does not exist, Exists is false and the
// error is nil.
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
	published, err := p.readPublishedTables(ctx, conn, tables)
	if err != nil {
		return p, err
	}
	if err := p.hazards(ctx, conn, tables); err != nil {
		return p, err
	}
	if majorVersion(conn.PgConn()) >= 15 {
		var schema string
		if err := queryEach(ctx, conn, publishedSchemas, []any{name}, []any{&schema}, func() { p.Schemas = append(p.Schemas, schema) }); err != nil {
			return p, err
		}
	}
	schemas, names := schemasAndNames(tables)
	var index int
	err = queryEach(ctx, conn, hiddenTables, []any{name, schemas, names}, []any{&index}, func() { p.Hidden = append(p.Hidden, qualifiedName(tables[index-1])) })
	if err != nil {
		return p, err
	}
	slices.Sort(p.Hidden)
	err = queryEach(ctx, conn, existingTables, []any{schemas, names}, []any{&index}, func() {
		if table := qualifiedName(tables[index-1]); !published[table] && !slices.Contains(p.Hidden, table) {
			p.Missing = append(p.Missing, tables[index-1])
		}
	})
	return p, err
}

// readPublishedTables classifies the published tables, and returns their names (schema.name).
func (p *Publication) readPublishedTables(ctx context.Context, conn *pgx.Conn, tables []*Table) (map[string]bool, error) {
	schemas, names := schemasAndNames(tables)
	var inheriting []string
	var schema, name string
	if err := queryEach(ctx, conn, descendants, []any{schemas, names}, []any{&name}, func() { inheriting = append(inheriting, name) }); err != nil {
		return nil, err
	}
	published := map[string]bool{}
	var columnList, rowFilter bool
	err := queryEach(ctx, conn, publishedTables, []any{p.Name}, []any{&schema, &name, &columnList, &rowFilter}, func() {
		table := schema + "." + name
		published[table] = true
		switch {
		case containsTable(tables, table):
		case slices.Contains(inheriting, table):
			p.Descendants = append(p.Descendants, table)
		default:
			p.Extra = append(p.Extra, table)
		}
		if columnList {
			p.ColumnLists = append(p.ColumnLists, table)
		}
		if rowFilter {
			p.RowFilters = append(p.RowFilters, table)
		}
	})
	return published, err
}
