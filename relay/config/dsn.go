package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// foreignParameters are URL parameters of other clients, with a hint. The PostgreSQL driver would send them to the server as
// settings, and the server's error would name neither the option nor the remedy.
var foreignParameters = map[string]string{
	"keepalives": "", "keepalives_idle": "", "keepalives_interval": "", "keepalives_count": "", "tcp_user_timeout": "", "gssencmode": "", "gssdelegation": "", "gsslib": "",
	"requirepeer": "", "sslcompression": "", "sslcrl": "", "sslcrldir": "", "sslcertmode": "", "load_balance_mode": "", "require_auth": "", "requiressl": "",
	"fallback_application_name": "; the relay sets application_name itself", "replication": "; the relay opens replication connections itself",
	"pgbouncer": " and connect to the server directly, not through a pooler", "schema": " and set mapping.schema instead", "currentschema": " and set mapping.schema instead",
	"connection_limit": "", "pool_timeout": "", "socket_timeout": "", "statement_cache_size": "", "ssl": " and set sslmode instead", "sslfactory": " and set sslmode instead", "prepared_statements": "",
	"user_agent": "", "loglevel": "", "preparethreshold": "", "sockettimeout": "", "logintimeout": "; write connect_timeout", "tcpkeepalive": "", "targetservertype": "; write target_session_attrs",
}

// checkDSN does not repeat the parser's error, in which an unencoded password could appear as a host or port.
func checkDSN(ps *problems, key string, dsn DSN) {
	if dsn == "" {
		return
	}
	if lower := strings.ToLower(strings.TrimSpace(string(dsn))); strings.HasPrefix(lower, "jdbc:") {
		ps.add(key, "is a JDBC URL; write postgres://user:password@host:5432/database, with user and password before the host instead of as parameters")
		return
	}
	config, err := pgconn.ParseConfig(string(dsn))
	if err != nil {
		ps.add(key, "is not a valid PostgreSQL connection string; write postgres://user:password@host:5432/database, percent-encode special characters in the password, and check that the files it names exist and that sslmode is one of disable, allow, prefer, require, verify-ca, verify-full")
		return
	}
	// The driver ends the password at its first @, so that the rest would be logged as part of a host.
	if strings.Contains(config.Host, "@") || slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return strings.Contains(f.Host, "@") }) {
		ps.add(key, "has more than one @ before the host; write an @ in the user or password as %%40")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(config.RuntimeParams)) {
		if hint, foreign := foreignParameters[strings.ToLower(name)]; foreign {
			ps.add(key, "has the parameter %s, which the relay does not support; remove it%s", name, hint)
		}
	}
}
