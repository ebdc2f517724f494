package config

import (
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// foreignParameters are what URLs for other clients carry. The PostgreSQL driver would send them to the server as settings, which the
// server refuses, with a message that names neither the option nor what to do.
var foreignParameters = map[string]string{
	"keepalives": "", "keepalives_idle": "", "keepalives_interval": "", "keepalives_count": "", "tcp_user_timeout": "", "gssencmode": "", "gssdelegation": "", "gsslib": "",
	"requirepeer": "", "sslcompression": "", "sslcrl": "", "sslcrldir": "", "sslcertmode": "", "load_balance_mode": "", "require_auth": "", "requiressl": "",
	"fallback_application_name": "; the relay names itself", "replication": "; the relay opens replication connections itself",
	"pgbouncer": "; connect to the server itself, not by way of a pooler", "schema": "; write mapping.schema", "currentschema": "; write mapping.schema",
	"connection_limit": "", "pool_timeout": "", "socket_timeout": "", "statement_cache_size": "", "ssl": "; write sslmode", "sslfactory": "; write sslmode", "prepared_statements": "",
	"user_agent": "", "loglevel": "", "preparethreshold": "", "sockettimeout": "", "logintimeout": "; write connect_timeout", "tcpkeepalive": "", "targetservertype": "; write target_session_attrs",
}

// checkDSN does not repeat the parser's error: a password that is not encoded would show up as a host or port in it.
func checkDSN(ps *problems, key string, dsn DSN) {
	if dsn == "" {
		return
	}
	if lower := strings.ToLower(strings.TrimSpace(string(dsn))); strings.HasPrefix(lower, "jdbc:") {
		ps.add(key, "is a JDBC URL; write postgres://user:password@host:5432/database, with user and password before the host and not as parameters")
		return
	}
	config, err := pgconn.ParseConfig(string(dsn))
	if err != nil {
		ps.add(key, "is not a connection string that PostgreSQL clients can use; write postgres://user:password@host:5432/database, with special characters of the password percent-encoded, and check that the files it names exist, and that sslmode is one of disable, allow, prefer, require, verify-ca, verify-full")
		return
	}
	// The driver ends the password at its first @, so that the rest would show up as part of a host.
	if strings.Contains(config.Host, "@") || slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return strings.Contains(f.Host, "@") }) {
		ps.add(key, "has more than one @ before the host; write an @ in the user or password as %%40")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(config.RuntimeParams)) {
		if hint, foreign := foreignParameters[strings.ToLower(name)]; foreign {
			ps.add(key, "has the parameter %s, which is not one of this client; remove it%s", name, hint)
		}
	}
}
