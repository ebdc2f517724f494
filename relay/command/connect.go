package command

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/config"
)

// connect opens an ordinary connection to the source. An error never contains the URL.
func connect(ctx context.Context, url string) (*pgx.Conn, error) {
	conn, err := cdc.Connect(ctx, url)
	if errors.Is(err, cdc.ErrURL) {
		return nil, &usageError{"the URL: " + err.Error()}
	}
	return conn, err
}

// closeConn ends a connection in order, even if the command is being interrupted.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // Nothing depends on it any more.
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
