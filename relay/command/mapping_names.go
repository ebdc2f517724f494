package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
)

// databaseNames holds the columns of each table of a database, in their order, by schema.table.
type databaseNames map[string][]string

// readNames reads the names of all tables and columns outside PostgreSQL's own schemas.
func readNames(ctx context.Context, conn *pgx.Conn) (databaseNames, error) {
	rows, err := conn.Query(ctx, `SELECT n.nspname || '.' || c.relname, ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
			WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('information_schema', 'pg_catalog', 'pg_toast') AND n.nspname NOT LIKE 'pg\_temp\_%'`)
	if err != nil {
		return nil, fmt.Errorf("read the names of the tables: %w", err)
	}
	names := databaseNames{}
	var table string
	var columns []string
	if _, err := pgx.ForEachRow(rows, []any{&table, &columns}, func() error {
		names[table] = slices.Clone(columns)
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read the names of the tables: %w", err)
	}
	return names, nil
}

// unmapped returns the tables that the mapping does not name, in the schemas of those that it names, sorted.
func (n databaseNames) unmapped(r *mapping.Rules) []string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		mapped := slices.ContainsFunc(r.Mapped, func(t *rules.Table) bool { return qualified(t) == name })
		if !mapped && slices.ContainsFunc(r.Mapped, func(t *rules.Table) bool { return strings.HasPrefix(name, t.CDC.Schema+".") }) {
			all = append(all, name)
		}
	}
	return all
}

// nearestTable returns the table that was probably meant: one that differs in case only, one of that name in another schema, or
// one whose name is like it. A table of the same schema is named without it.
func (n databaseNames) nearestTable(schema, name string) string {
	var here, lower, elsewhere []string
	for _, table := range slices.Sorted(maps.Keys(n)) {
		if short, ok := strings.CutPrefix(table, schema+"."); ok {
			here, lower = append(here, short), append(lower, strings.ToLower(short))
		} else if strings.HasSuffix(table, "."+name) {
			elsewhere = append(elsewhere, table)
		}
	}
	if i := slices.Index(lower, strings.ToLower(name)); i >= 0 {
		return here[i]
	}
	if len(elsewhere) > 0 {
		return elsewhere[0]
	}
	if near := spelling.Nearest(strings.ToLower(name), lower); near != "" {
		return here[slices.Index(lower, near)]
	}
	return ""
}

// nearestColumn returns the column of the table that was probably meant: one that differs only in case and underscores, or one
// whose name is like it.
func (n databaseNames) nearestColumn(table, name string) string {
	columns := n[table]
	for _, column := range columns {
		if plainName(column) == plainName(name) {
			return column
		}
	}
	return spelling.Nearest(name, columns)
}

func plainName(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }

// suggestion returns the end of a message about a table or column that the database does not have.
func (c *mappingCheck) suggestion(text string) string {
	for _, t := range c.rules.Mapped {
		near := ""
		if strings.HasPrefix(text, "the database has no table "+qualified(t)+";") {
			near = c.names.nearestTable(t.CDC.Schema, t.CDC.Name)
		} else if rest, ok := strings.CutPrefix(text, "table "+qualified(t)+" has no column "); ok {
			for _, column := range t.CDC.Columns {
				if strings.HasPrefix(rest, fmt.Sprintf("%q", column.Name)) {
					near = c.names.nearestColumn(qualified(t), column.Name)
				}
			}
		}
		if near != "" {
			return fmt.Sprintf("; did you mean %q?", near)
		}
	}
	return ""
}
