package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
)

const (
	connectTimeout = 10 * time.Second
	// statementTimeout bounds what commands ask of a server that is in trouble; lockTimeout what they wait behind others'
	// work on the tables.
	statementTimeout, lockTimeout = "60s", "10s"
)

// load reads the configuration and the mapping that it names.
func load(path string, env *environment) (*config.Config, *mapping.Rules, error) {
	cfg, err := config.Load(path, env.environ)
	if err != nil {
		return nil, nil, err
	}
	rules, err := relay.Rules(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := relay.KnownEvents(cfg, rules); err != nil {
		return nil, nil, err
	}
	return cfg, rules, nil
}

// connect opens an ordinary connection. An error never has the URL in it.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, &usageError{"the URL is not a connection string that PostgreSQL clients can use; write postgres://user@host:5432/database, and check that the files it names exist"}
	}
	c.ConnectTimeout = connectTimeout
	c.RuntimeParams["application_name"] = "iam-relay"
	c.RuntimeParams["statement_timeout"] = statementTimeout
	c.RuntimeParams["lock_timeout"] = lockTimeout
	conn, err := pgx.ConnectConfig(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("connect to the source: %w", cdc.ConnectReason(err))
	}
	return conn, nil
}

// closeConn says goodbye to the server, even if the command is being interrupted.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // The connection is of no more use, whatever the error.
}

// account is the role and the database that a valid connection string names.
func account(url config.DSN) (role, database string) {
	c, err := pgconn.ParseConfig(string(url))
	if err != nil { // the configuration was validated
		return "", ""
	}
	return c.User, c.Database
}

const codeNoPrivilege = "42501"

// hasCode reports whether the server's error has the SQLSTATE.
func hasCode(err error, code string) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == code
}
