package cdc

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Changes of the catalogue after which rows may have changed without the WAL saying so: the table left the publication, if only
// for a moment; it is another table under the same name; what is published was narrowed; a column was dropped and added again,
// has another type, or its values were rewritten (ALTER COLUMN … TYPE … USING).
//
// A rewrite gives the table another file and replaces the column's row in pg_attribute, whose xmin shows that. Either alone means
// nothing: TRUNCATE, VACUUM FULL and CLUSTER give another file, and GRANT, SET STATISTICS or RENAME replace the column's row.
// https://www.postgresql.org/docs/current/ddl-system-columns.html
const fingerprints = `
SELECT want.at, concat_ws(E'\n', concat_ws(':', p.oid, p.xmin, r.oid, r.xmin, c.oid, c.relpersistence), c.relfilenode::text,
         (SELECT string_agg(concat_ws(':', a.attnum, a.atttypid, a.xmin, a.attname), E'\n' ORDER BY a.attname)
          FROM pg_attribute a, unnest(string_to_array(want.columns, E'\n')) AS w (name)
          WHERE a.attrelid = c.oid AND a.attname = w.name AND a.attnum > 0))
FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS want (schema, name, columns, at)
JOIN pg_namespace n ON n.nspname = want.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = want.name
JOIN pg_publication p ON p.pubname = $1
JOIN pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid`

// Fingerprints returns, by the name of each mapped table that is published, a text by which Alike tells whether rows of it may have
// changed without the WAL saying so: a line for the
// table, one for its file, and one for each mapped column.
func Fingerprints(ctx context.Context, conn *pgx.Conn, publication string, tables []*Table) (map[string]string, error) {
	schemas, names := tableNames(tables)
	prints := map[string]string{}
	var at int
	var text string
	err := queryEach(ctx, conn, fingerprints, []any{publication, schemas, names, columnNames(tables)}, []any{&at, &text}, func() { prints[tables[at-1].Name] = text })
	if err != nil {
		return nil, fmt.Errorf("take the fingerprints of the mapped tables: %w", err)
	}
	return prints, nil
}

// Alike reports whether two fingerprints of a table say that the WAL has every change of its rows between them. Columns that only
// one of them has were mapped, added, dropped or renamed since. That two are not alike may have harmless reasons.
func Alike(before, now string) bool {
	table, file, columns := splitFingerprint(before)
	tableNow, fileNow, columnsNow := splitFingerprint(now)
	if table != tableNow {
		return false
	}
	for name, is := range columnsNow {
		was, ok := columns[name]
		if ok && (was.identity != is.identity || was.xmin != is.xmin && file != fileNow) {
			return false
		}
	}
	return true
}

// FingerprintRelation is the OID of the relation that a fingerprint is of; 0 for an empty one.
func FingerprintRelation(fingerprint string) uint32 {
	table, _, _ := splitFingerprint(fingerprint)
	fields := strings.Split(table, ":")
	if len(fields) < 5 {
		return 0
	}
	oid, err := strconv.ParseUint(fields[4], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(oid)
}

// fingerprintColumn is what identifies a column, and which transaction wrote its description last.
type fingerprintColumn struct{ identity, xmin string }

func splitFingerprint(text string) (table, file string, columns map[string]fingerprintColumn) {
	lines := strings.Split(text, "\n")
	columns = map[string]fingerprintColumn{}
	for i, line := range lines {
		switch fields := strings.SplitN(line, ":", 4); {
		case i == 0:
			table = line
		case i == 1:
			file = line
		case len(fields) == 4:
			columns[fields[3]] = fingerprintColumn{identity: fields[0] + ":" + fields[1], xmin: fields[2]}
		}
	}
	return table, file, columns
}

// NameOf returns the name (schema.name) that a relation has now; empty if there is none.
func NameOf(ctx context.Context, conn *pgx.Conn, relation uint32) (string, error) {
	var name string
	err := conn.QueryRow(ctx, `SELECT coalesce((SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1), '')`,
		relation).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("look up relation %d: %w", relation, err)
	}
	return name, nil
}
