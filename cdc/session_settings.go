package cdc

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

const applicationName = "iam-relay"

// pinned are the settings of every connection of the relay, to the source and to the outbox. No setting of a role, a database
// or the server changes what a session reads, how long it may take or whose functions it calls. They are sent in the startup
// packet, so they apply from the first statement on. Every version since PostgreSQL 14 has them; PinSettings sets those that
// only newer versions have.
// https://www.postgresql.org/docs/current/runtime-config-client.html
var pinned = map[string]string{
	"application_name": applicationName,
	// Without other schemas, no planted function can shadow one of pg_catalog by arguments that match better. pg_temp is listed
	// because it would otherwise be searched first.
	"search_path": "pg_catalog, pg_temp",
	// The text format of values. Sessions that read rows of a database in another encoding change client_encoding, see encoding.
	"client_encoding":             "UTF8",
	"DateStyle":                   "ISO, MDY",
	"TimeZone":                    "UTC",
	"IntervalStyle":               "postgres",
	"extra_float_digits":          "3",
	"bytea_output":                "hex",
	"xmlbinary":                   "base64",
	"xmloption":                   "content",
	"lc_monetary":                 "C",
	"lc_numeric":                  "C",
	"lc_time":                     "C",
	"standard_conforming_strings": "on",
	"quote_all_identifiers":       "off",
	"array_nulls":                 "on",
	"transform_null_equals":       "off",
	// The server reports a skipped publication as a warning only.
	"client_min_messages": "warning",
	// Transactions. With row_security off, a policy that would hide rows is an error instead of a shorter result.
	"default_transaction_isolation":  "read committed",
	"default_transaction_read_only":  "off",
	"default_transaction_deferrable": "off",
	"row_security":                   "off",
	// Timeouts. The server ends the session of a relay that is frozen or unreachable, and releases its locks.
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_session_timeout":                "0",
	"idle_in_transaction_session_timeout": "15s",
	"tcp_keepalives_idle":                 "5",
	"tcp_keepalives_interval":             "2",
	"tcp_keepalives_count":                "3",
	"tcp_user_timeout":                    "60s",
	"client_connection_check_interval":    "0",
	// The cost estimates of statements over many partitions trigger compilation that takes longer than the statements.
	"jit": "off",
}

// sessionSettings overrides what the startup packet cannot: synchronous_commit, which may be stronger than "local" but not
// weaker, and every other parameter that is set for the role or the database, including those of extensions.
const sessionSettings = `SELECT pg_catalog.set_config(s.name, CASE
    WHEN s.name = 'synchronous_commit' THEN 'local'
    ELSE coalesce(s.boot_val, '') END, false)
FROM pg_catalog.pg_settings s
WHERE s.name = 'synchronous_commit' AND s.setting = 'off'
   OR s.name <> 'synchronous_commit' AND s.context = 'user' AND s.source IN ('global', 'database', 'user', 'database user')`

// PinSettings sets the pinned settings of a connection, then those of extra, which take precedence. It replaces
// config.AfterConnect.
func PinSettings(config *pgconn.Config, extra map[string]string) {
	// The URL or PGOPTIONS may write a parameter in another case.
	for name := range config.RuntimeParams {
		for _, settings := range []map[string]string{pinned, extra} {
			for ours := range settings {
				if name != ours && strings.EqualFold(name, ours) {
					delete(config.RuntimeParams, name)
				}
			}
		}
	}
	maps.Copy(config.RuntimeParams, pinned)
	maps.Copy(config.RuntimeParams, extra)
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		// The server cannot convert from SQL_ASCII: with client_encoding UTF8 it would only reject texts that are not valid UTF-8.
		if conn.ParameterStatus("server_encoding") == sqlASCII {
			if err := requestRawText(ctx, conn); err != nil {
				return err
			}
		}
		// It would override a longer statement_timeout.
		if majorVersion(conn) >= 17 {
			if _, err := conn.Exec(ctx, "SET transaction_timeout = 0").ReadAll(); err != nil {
				return fmt.Errorf("set transaction_timeout: %w", err)
			}
		}
		if _, err := conn.Exec(ctx, sessionSettings).ReadAll(); err != nil {
			return fmt.Errorf("reset the settings of the role and the database (ALTER ROLE or ALTER DATABASE … SET): %w", err)
		}
		return nil
	}
}
