package cdc

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Changes of the catalogue after which rows may have changed without the log saying so: the table left the publication, if only
// for a moment; it is another table under the same name; what is published was narrowed; a column was made anew, or its
// values were rewritten (ALTER COLUMN … TYPE … USING). Each of them replaces a row of the catalogue, whose xmin tells.
// https://www.postgresql.org/docs/current/ddl-system-columns.html
const fingerprints = `
SELECT want.at, concat_ws(E'\n', concat_ws(':', p.oid, p.xmin, r.oid, r.xmin, c.oid, c.relpersistence),
         (SELECT string_agg(concat_ws(':', a.attnum, a.atttypid, a.xmin, a.attname), E'\n' ORDER BY a.attname)
          FROM pg_attribute a, unnest(string_to_array(want.columns, E'\n')) AS w (name)
          WHERE a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0))
FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS want (schema, name, columns, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
JOIN pg_publication p ON p.pubname = $1
JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid`

// Fingerprints returns, by the name of each mapped table that is published, a text by which Alike tells whether rows of it may have
// changed without the log saying so: a line for the table, and one for each mapped column.
func Fingerprints(ctx context.Context, conn *pgx.Conn, publication string, tables []*Table) (map[string]string, error) {
	schemas, names, columns := make([]string, len(tables)), make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
		for j := range t.Columns {
			if j > 0 {
				columns[i] += "\n"
			}
			columns[i] += t.Columns[j].Name
		}
	}
	prints := map[string]string{}
	var at int
	var text string
	err := queryEach(ctx, conn, fingerprints, []any{publication, schemas, names, columns}, []any{&at, &text}, func() { prints[tables[at-1].Name] = text })
	if err != nil {
		return nil, fmt.Errorf("take the fingerprints of the mapped tables: %w", err)
	}
	return prints, nil
}

// Alike reports whether two fingerprints of a table say that the log has told every change of its rows between them. Columns that
// only one of them has were mapped, or made, since. That two are not alike may have harmless reasons.
func Alike(before, now string) bool {
	table, columns, _ := strings.Cut(before, "\n")
	tableNow, columnsNow, _ := strings.Cut(now, "\n")
	if table != tableNow {
		return false
	}
	known := map[string]string{}
	for line := range strings.SplitSeq(columns, "\n") {
		known[fingerprintColumn(line)] = line
	}
	for line := range strings.SplitSeq(columnsNow, "\n") {
		if then, ok := known[fingerprintColumn(line)]; ok && then != line {
			return false
		}
	}
	return true
}

func fingerprintColumn(line string) string {
	fields := strings.SplitN(line, ":", 4)
	return fields[len(fields)-1]
}
