package clustertest

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
)

// hostile are, of every parameter that a role may be given, the settings that differ most from the default.
const hostile = `SELECT format('SET %I = %L', name, CASE
    WHEN name LIKE '%timeout' THEN '10'
    WHEN vartype = 'bool' THEN CASE boot_val WHEN 'on' THEN 'off' ELSE 'on' END
    WHEN name = 'synchronous_commit' THEN 'off'
    WHEN vartype = 'enum' THEN (SELECT v FROM unnest(enumvals) AS v WHERE v <> boot_val ORDER BY v DESC LIMIT 1)
    WHEN name = 'search_path' THEN 'public, pg_catalog'
    WHEN name = 'DateStyle' THEN 'German'
    WHEN name = 'TimeZone' THEN 'Asia/Kolkata'
    WHEN name = 'client_encoding' THEN 'LATIN1'
    WHEN vartype IN ('integer', 'real') THEN min_val
  END)
FROM pg_settings WHERE context = 'user' AND name NOT IN ('role', 'session_authorization')
  AND (vartype <> 'string' OR name IN ('search_path', 'DateStyle', 'TimeZone', 'client_encoding'))
  AND name NOT IN ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable', 'default_with_oids')
  -- These only print to the server's log, a lot.
  AND name NOT LIKE 'debug_p%' AND name NOT LIKE 'trace_%' AND name NOT LIKE 'log_%' AND NOT (vartype = 'enum' AND cardinality(enumvals) < 2)`

// Hostile gives the targets of ALTER … SET, such as "ROLE x" and "DATABASE y", the most unsuitable settings in turn: no connection
// of the relay may be affected by them.
func Hostile(t testing.TB, conn *pgx.Conn, targets ...string) {
	t.Helper()
	rows, err := conn.Query(t.Context(), hostile)
	if err != nil {
		t.Fatal(err)
	}
	settings, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(settings) < 50 {
		t.Fatalf("only %d settings", len(settings))
	}
	for i, setting := range settings {
		if _, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER %s %s", targets[i%len(targets)], setting)); err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
	}
}
