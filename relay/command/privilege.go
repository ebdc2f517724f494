package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// quote writes a name as SQL.
func quote(name ...string) string { return pgx.Identifier(name).Sanitize() }

// schemas are those of the tables, each once.
func schemas(tables []*cdc.Table) []string {
	var names []string
	for _, t := range tables {
		if !slices.Contains(names, t.Schema) {
			names = append(names, t.Schema)
		}
	}
	return names
}

// grantColumns lets the role read the columns of a table for which want is true; empty if there are none.
func grantColumns(role string, t *cdc.Table, want func(column int) bool) string {
	var columns []string
	for i, c := range t.Columns {
		if want(i) {
			columns = append(columns, quote(c.Name))
		}
	}
	if columns == nil {
		return ""
	}
	return fmt.Sprintf("GRANT SELECT (%s) ON %s TO %s;", strings.Join(columns, ", "), quote(t.Schema, t.Name), quote(role))
}

// grants let the role read what is mapped of the tables that the database has, and nothing else.
func grants(role string, tables []*cdc.Table, catalog *cdc.Catalog) []string {
	var sql []string
	for _, schema := range schemas(tables) {
		sql = append(sql, fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s;", quote(schema), quote(role)))
	}
	for _, t := range tables {
		if relation := catalog.Relation(t.Name); relation != nil {
			sql = append(sql, grantColumns(role, t, func(i int) bool { return relation.Types[i] != 0 }))
		}
	}
	return slices.DeleteFunc(sql, func(s string) bool { return s == "" })
}

func createSchema(schema, role string) string {
	return fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %s;", quote(schema), quote(role))
}
