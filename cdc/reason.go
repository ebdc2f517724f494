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

// connectionError says in one sentence why there is no connection.
type connectionError struct {
	text string
	err  error
}

func (e *connectionError) Error() string { return e.text }
func (e *connectionError) Unwrap() error { return e.err }

// ConnectReason makes of pgx's account of all that it tried one sentence: why there is no connection, and what to do. It
// names user, database, host and port, and wraps err. An error that is not about connecting is returned as it is.
func ConnectReason(err error) error {
	connect, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	c := connect.Config
	if refusal, ok := errors.AsType[*pgconn.PgError](err); ok {
		return &connectionError{refusalReason(c, refusal), err}
	}
	where := net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
	if strings.HasPrefix(c.Host, "/") {
		where = fmt.Sprintf("the socket of port %d in %s", c.Port, c.Host)
	}
	return &connectionError{unreachable(where, err), err}
}

// refusalReason explains what the server answered.
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func refusalReason(c *pgconn.Config, refusal *pgconn.PgError) string {
	switch refusal.Code {
	case codeInvalidPassword, codeInvalidAuthorizer:
		return fmt.Sprintf("the server refuses user %q: %s; check user and password in the URL, and that pg_hba.conf lets the role connect to database %q",
			c.User, refusal.Message, c.Database)
	case codeUndefinedDatabase:
		return fmt.Sprintf("%s; check the database's name in the URL", refusal.Message)
	case codeNoPrivilege:
		if c.RuntimeParams["replication"] != "" {
			return fmt.Sprintf("%s; the role needs replication: ALTER ROLE %q REPLICATION (on managed services: the provider's replication role)", refusal.Message, c.User)
		}
		return fmt.Sprintf("%s; let its owner run: GRANT CONNECT ON DATABASE %q TO %q", refusal.Message, c.Database, c.User)
	case codeTooManyClients:
		// The server says which of its limits only in words, and those have changed between versions.
		if c.RuntimeParams["replication"] != "" && strings.Contains(refusal.Message, "max_wal_senders") {
			return refusal.Message + "; all WAL senders of the server are taken: raise max_wal_senders (needs a restart of the server), or end a reader that nobody needs (SELECT pid, application_name FROM pg_stat_replication)"
		}
		return refusal.Message + "; raise max_connections or max_wal_senders, or close some connections"
	case codeUndefinedObject, codeInvalidParameter:
		return refusal.Message + "; correct or remove that parameter in the URL (a parameter that the client does not know goes to the server as a setting)"
	case codeCannotConnectNow:
		return refusal.Message + "; it accepts connections again by itself, or its log says why not"
	}
	return fmt.Sprintf("the server refuses the connection: %s (SQLSTATE %s)", refusal.Message, refusal.Code)
}

// unreachable explains why there was no answer of a server.
func unreachable(where string, err error) string {
	const check = "; check host and port in the URL, and that the server runs"
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if strings.Contains(dns.Name, "@") { // the driver ends the password at its first @, so the name holds the rest of it
			return "the URL has more than one @ before its host; write an @ of the user or password as %40"
		}
		return fmt.Sprintf("the host %q cannot be looked up; check it in the URL", dns.Name)
	}
	netErr, isNet := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens on %s%s", where, check)
	case errors.Is(err, os.ErrNotExist):
		return fmt.Sprintf("there is no %s%s", strings.TrimPrefix(where, "the "), check)
	case isNet && netErr.Timeout(), pgconn.Timeout(err):
		return fmt.Sprintf("%s does not answer%s", where, check)
	}
	// The last of several attempts says as much as all of them.
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if _, reason, ok := strings.Cut(last, "tls error: "); ok { // pgconn has no type for it
		return fmt.Sprintf("no TLS with %s: %s; check sslmode and sslrootcert in the URL, and the server's ssl and ssl_cert_file", where, reason)
	}
	return fmt.Sprintf("cannot connect: %s%s", last, check)
}
