package cdc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const applicationName = "iam-relay"

// pinned are the settings of every connection of the relay, to the source and to the outbox: nothing that a role, a database
// or the server's configuration sets changes what a session reads, how long it may take, or whose functions it calls. They
// are sent with the startup packet, so they hold from the first statement on. Every version since PostgreSQL 14 has them;
// Pin sets what only newer ones have.
// https://www.postgresql.org/docs/current/runtime-config-client.html
var pinned = map[string]string{
	"application_name": applicationName,
	// Objects planted in another schema are never found: a function with arguments that fit better would win even against one
	// of pg_catalog. pg_temp is named because it would be searched first otherwise.
	"search_path": "pg_catalog, pg_temp",
	// The texts of values. Sessions that read rows of databases in another encoding change it, see encoding.
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
	// The warning that a publication was skipped is only a notice, so notices must come.
	"client_min_messages": "warning",
	// Transactions. Row-level security that hides rows is an error, not a shorter result.
	"default_transaction_isolation":  "read committed",
	"default_transaction_read_only":  "off",
	"default_transaction_deferrable": "off",
	"row_security":                   "off",
	// Time-outs. A session whose relay is frozen or cut off ends by itself, and with it its locks.
	"statement_timeout":                   "0",
	"lock_timeout":                        "0",
	"idle_session_timeout":                "0",
	"idle_in_transaction_session_timeout": "15s",
	"tcp_keepalives_idle":                 "5",
	"tcp_keepalives_interval":             "2",
	"tcp_keepalives_count":                "3",
	"tcp_user_timeout":                    "60s",
	"client_connection_check_interval":    "0",
	// Over many partitions the server takes short statements for long ones, and compiles them for longer than they run.
	"jit": "off",
}

// sessionSettings changes what the startup packet cannot: one parameter that may be stronger than it has to be but not weaker, and
// all others that a role or a database has set, also those of extensions.
const sessionSettings = `SELECT pg_catalog.set_config(s.name, CASE
    WHEN s.name = 'synchronous_commit' THEN 'local'
    ELSE coalesce(s.boot_val, '') END, false)
FROM pg_catalog.pg_settings s
WHERE s.name = 'synchronous_commit' AND s.setting = 'off'
   OR s.name <> 'synchronous_commit' AND s.context = 'user' AND s.source IN ('global', 'database', 'user', 'database user')`

// Pin gives a connection the settings that every connection of the relay has, and then those of extra.
func Pin(config *pgconn.Config, extra map[string]string) {
	// A parameter of the URL or of PGOPTIONS may be spelled in another case.
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
		// Where the server does not know the encoding, it would only refuse what is not valid in this one.
		if conn.ParameterStatus("server_encoding") == sqlASCII {
			if err := readRaw(ctx, conn); err != nil {
				return err
			}
		}
		// It might end the session before the longer statement has ended.
		if majorVersion(conn) >= 17 {
			if _, err := conn.Exec(ctx, "SET transaction_timeout = 0").ReadAll(); err != nil {
				return fmt.Errorf("set transaction_timeout: %w", err)
			}
		}
		if _, err := conn.Exec(ctx, sessionSettings).ReadAll(); err != nil {
			return fmt.Errorf("undo the settings of the role and the database (ALTER ROLE or ALTER DATABASE … SET): %w", err)
		}
		return nil
	}
}

const (
	// statementTimeout bounds what is asked of a server that is in trouble; lockTimeout how long is waited behind the work of
	// others on the tables.
	statementTimeout, lockTimeout = "60s", "10s"
	connectTimeout                = 10 * time.Second
)

// ErrURL says that a connection URL cannot be read. pgx's own error has the string in it.
var ErrURL = errors.New("it is not a connection string that PostgreSQL clients can use; write postgres://user@host:5432/database, and check that the files it names exist")

// Connect opens an ordinary session with the source, for lookups that take moments. An error never has the URL in it.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, ErrURL
	}
	Pin(&config.Config, map[string]string{"statement_timeout": statementTimeout, "lock_timeout": lockTimeout})
	config.ConnectTimeout = connectTimeout
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the source: %w", ConnectReason(err))
	}
	return conn, nil
}
