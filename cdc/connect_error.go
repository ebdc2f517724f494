package cdc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// connectError replaces the text of a connection failure by one sentence.
type connectError struct {
	text string
	err  error
}

func (e *connectError) Error() string { return e.text }

func (e *connectError) Unwrap() error { return e.err }

// ExplainConnectError condenses pgx's report of all its connection attempts into one sentence: why there is no connection, and
// how to fix it. The text names user, database, host and port, never the password, and the error wraps err. An error that is
// not about connecting is returned unchanged.
func ExplainConnectError(err error) error {
	connect, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	c := connect.Config
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &connectError{refusalReason(c, refusal), err}
	}
	where := net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
	if strings.HasPrefix(c.Host, "/") {
		where = fmt.Sprintf("the Unix socket for port %d in %s", c.Port, c.Host)
	}
	return &connectError{unreachable(where, err), err}
}

// refusalReason explains an error that the server returned.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func refusalReason(c *pgconn.Config, refusal *pgconn.PgError) string {
	switch refusal.Code {
	case codeInvalidPassword, codeInvalidAuthorizer:
		return fmt.Sprintf("the server rejected user %q: %s; check user and password in the URL, and that pg_hba.conf allows the role to connect to database %q",
			c.User, refusal.Message, c.Database)
	case codeUndefinedDatabase:
		return fmt.Sprintf("%s; check the database name in the URL", refusal.Message)
	case codeNoPrivilege:
		if c.RuntimeParams["replication"] != "" {
			return fmt.Sprintf("%s; run ALTER ROLE %q REPLICATION (on managed services: grant the provider's replication role)", refusal.Message, c.User)
		}
		return fmt.Sprintf("%s; ask the owner of the database to run: GRANT CONNECT ON DATABASE %q TO %q", refusal.Message, c.Database, c.User)
	case codeTooManyClients:
		// Only the text says which limit was reached, and it differs between versions.
		if c.RuntimeParams["replication"] != "" && strings.Contains(refusal.Message, "max_wal_senders") {
			return refusal.Message + "; all WAL senders are in use: raise max_wal_senders (requires a server restart), or end an unused one (SELECT pid, application_name FROM pg_stat_replication)"
		}
		return refusal.Message + "; raise max_connections or max_wal_senders, or close connections"
	case codeUndefinedObject, codeInvalidParameter:
		return refusal.Message + "; correct or remove the parameter in the URL (a parameter unknown to the client is sent to the server as a setting)"
	case codeCannotConnectNow:
		return refusal.Message + "; wait until it accepts connections, or see its log for the reason"
	}
	return fmt.Sprintf("the server rejected the connection: %s (SQLSTATE %s)", refusal.Message, refusal.Code)
}

// unreachable explains why no server answered.
func unreachable(where string, err error) string {
	const check = "; check host and port in the URL, and that the server is running"
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if strings.Contains(dns.Name, "@") { // pgx ends the password at the first @, so the host name contains the rest of the password
			return "the URL has more than one @ before the host; write an @ in the user or password as %40"
		}
		return fmt.Sprintf("cannot resolve host %q; check it in the URL", dns.Name)
	}
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing is listening on %s%s", where, check)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Sprintf("%s does not exist%s", where, check)
	case isNet && netErr.Timeout(), pgconn.Timeout(err):
		return fmt.Sprintf("%s does not respond%s", where, check)
	}
	// The last of several attempts is representative.
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if _, reason, ok := strings.Cut(last, "tls error: "); ok { // pgconn has no type for it
		return fmt.Sprintf("TLS with %s failed: %s; check sslmode and sslrootcert in the URL, and ssl and ssl_cert_file of the server", where, reason)
	}
	return fmt.Sprintf("cannot connect: %s%s", last, check)
}
