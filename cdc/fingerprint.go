package cdc

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// The catalog changes after which rows may have changed without a trace in the WAL: the table left the publication, even
// briefly; it was replaced by another table of the same name; the published operations were narrowed; a column was dropped and
// added again, changed its type, or had its values rewritten (ALTER COLUMN … TYPE … USING).
//
// A rewrite gives the table a new file and replaces the column's row in pg_attribute, which changes the xmin of that row.
// Either alone proves nothing: TRUNCATE, VACUUM FULL and CLUSTER give a new file; GRANT, SET STATISTICS and RENAME replace the
// column's row.
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

// Fingerprints returns a text for each published mapped table, by its name. FingerprintsMatch compares two of them. The text
// has a line for the table, one for its file, and one for each mapped column.
func Fingerprints(ctx context.Context, conn *pgx.Conn, publication string, tables []*Table) (map[string]string, error) {
	schemas, names := schemasAndNames(tables)
	prints := map[string]string{}
	var at int
	var text string
	err := queryEach(ctx, conn, fingerprints, []any{publication, schemas, names, columnNames(tables)}, []any{&at, &text}, func() { prints[tables[at-1].Name] = text })
	if err != nil {
		return nil, fmt.Errorf("read the fingerprints of the mapped tables: %w", err)
	}
	return prints, nil
}

// FingerprintsMatch reports whether, between two fingerprints of a table, every change of its rows is in the WAL. Columns that
// only one of them has are ignored: they were mapped, added, dropped or renamed. A false result may have a harmless reason.
func FingerprintsMatch(before, now string) bool {
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

// FingerprintRelation returns the OID of the fingerprint's table; 0 for an empty fingerprint.
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

// fingerprintColumn is the column's number and type, and the xmin of its row in pg_attribute.
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

// RelationName returns the current name (schema.name) of the relation with an OID; empty if there is none.
func RelationName(ctx context.Context, conn *pgx.Conn, relation uint32) (string, error) {
	var name string
	err := conn.QueryRow(ctx, `SELECT coalesce((SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1), '')`,
		relation).Scan(&name)
	if err != nil {
		return "", fmt.Errorf("look up relation %d: %w", relation, err)
	}
	return name, nil
}
