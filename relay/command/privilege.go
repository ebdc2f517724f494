package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// quote writes a name as SQL.
func quote(name ...string) string { return pgx.Identifier(name).Sanitize() }

// schemas returns the schemas of the tables, each once.
func schemas(tables []*cdc.Table) []string {
	var names []string
	for _, t := range tables {
		if !slices.Contains(names, t.Schema) {
			names = append(names, t.Schema)
		}
	}
	return names
}

// grantColumns grants SELECT on the columns of a table for which want is true, and with ctid on that too. It is empty if there are
// none.
func grantColumns(role string, t *cdc.Table, ctid bool, want func(column int) bool) string {
	var columns []string
	for i, c := range t.Columns {
		if want(i) {
			columns = append(columns, quote(c.Name))
		}
	}
	if ctid {
		columns = append(columns, quote(cdc.CtidColumn))
	}
	if columns == nil {
		return ""
	}
	return fmt.Sprintf("GRANT SELECT (%s) ON %s TO %s;", strings.Join(columns, ", "), quote(t.Schema, t.Name), quote(role))
}

// privileges are those that a role has on what the mapping names.
type privileges struct {
	schemas map[string]bool             // USAGE
	columns map[*cdc.Table]map[int]bool // SELECT
	ctid    map[*cdc.Table]bool         // SELECT of ctid
}

// readPrivileges reads the privileges of an existing role.
func readPrivileges(ctx context.Context, conn *pgx.Conn, role string, tables []*cdc.Table) (privileges, error) {
	p := privileges{schemas: map[string]bool{}, columns: map[*cdc.Table]map[int]bool{}, ctid: map[*cdc.Table]bool{}}
	names := schemas(tables)
	rows, err := conn.Query(ctx, `SELECT n.nspname FROM pg_namespace n WHERE n.nspname = ANY ($1) AND has_schema_privilege($2, n.oid, 'USAGE')`, names, role)
	if err != nil {
		return p, fmt.Errorf("look up the privileges of role %s: %w", role, err)
	}
	usable, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return p, fmt.Errorf("look up the privileges of role %s: %w", role, err)
	}
	for _, name := range usable {
		p.schemas[name] = true
	}
	for _, t := range tables {
		rows, err := conn.Query(ctx, `SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname = $1 AND c.relname = $2 AND (a.attnum > 0 AND NOT a.attisdropped OR a.attname = 'ctid') AND has_column_privilege($3, c.oid, a.attnum, 'SELECT')`, t.Schema, t.Name, role)
		if err != nil {
			return p, fmt.Errorf("look up the privileges of role %s on %s.%s: %w", role, t.Schema, t.Name, err)
		}
		readable, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return p, fmt.Errorf("look up the privileges of role %s on %s.%s: %w", role, t.Schema, t.Name, err)
		}
		p.columns[t], p.ctid[t] = map[int]bool{}, slices.Contains(readable, cdc.CtidColumn)
		for i := range t.Columns {
			p.columns[t][i] = slices.Contains(readable, t.Columns[i].Name)
		}
	}
	return p, nil
}

// missingGrants grants the role what it cannot read yet of the mapped columns that the database has. Existing privileges are not granted
// again: each GRANT writes to the catalog entry of a table in use.
func (s *setup) missingGrants(ctx context.Context, conn *pgx.Conn, role relayRole, catalog *cdc.Catalog) ([]string, error) {
	var p privileges
	if role.exists {
		var err error
		if p, err = readPrivileges(ctx, conn, s.role, s.tables); err != nil {
			return nil, err
		}
	}
	var sql []string
	for _, schema := range schemas(s.tables) {
		if !p.schemas[schema] {
			sql = append(sql, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", quote(schema), quote(s.role)))
		}
	}
	for _, t := range s.tables {
		if !catalog.Exists(t) {
			continue
		}
		lacks := grantColumns(s.role, t, !p.ctid[t], func(i int) bool { return catalog.HasColumn(t, i) && !p.columns[t][i] })
		switch {
		case lacks == "":
		case s.wholeTables:
			sql = append(sql, fmt.Sprintf("GRANT SELECT ON %s TO %s;", quote(t.Schema, t.Name), quote(s.role)))
		default:
			sql = append(sql, lacks)
		}
	}
	return sql, nil
}
