package cdc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Connect opens an ordinary session with the source database for short queries: statement_timeout is 60 s, lock_timeout 10 s.
// The error never contains the URL.
func Connect(ctx context.Context, url string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, ErrURL
	}
	PinSettings(&config.Config, map[string]string{"statement_timeout": statementTimeout, "lock_timeout": lockTimeout})
	config.ConnectTimeout = connectTimeout
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the source: %w", ExplainConnectError(err))
	}
	return conn, nil
}

const (
	// statementTimeout bounds a query on a server that is in trouble.
	statementTimeout = "60s"
	// lockTimeout bounds the wait for locks that other sessions hold on the tables.
	lockTimeout    = "10s"
	connectTimeout = 10 * time.Second
)

// ErrURL reports an invalid connection URL. pgx's own error contains the URL, and with it the password.
var ErrURL = errors.New("invalid connection string; use postgres://user@host:5432/database, and check that the files it names exist")

// connectConfig parses a connection URL and pins the session settings.
func connectConfig(url string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, ErrURL
	}
	PinSettings(config, nil)
	config.ConnectTimeout = connectTimeout
	return config, nil
}

// replicationConfig is connectConfig for a connection to a walsender.
func replicationConfig(url string) (*pgconn.Config, error) {
	config, err := connectConfig(url)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["replication"] = "database"
	return config, nil
}

// CheckReplicationAccess opens a replication connection and closes it again.
func CheckReplicationAccess(ctx context.Context, url string) error {
	config, err := replicationConfig(url)
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return ExplainConnectError(err)
	}
	defer closeConn(conn)
	if _, err := pglogrepl.IdentifySystem(ctx, conn); err != nil {
		return fmt.Errorf("%w; connect to the server directly, not through a connection pooler", err)
	}
	return nil
}

// closeTimeout bounds the orderly close of a connection whose server may be unreachable.
const closeTimeout = 500 * time.Millisecond

func closeConn(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	// The connection is discarded even if closing it fails.
	_ = conn.Close(ctx)
}

// majorVersion parses the server_version that the server reports at session start, such as "17.10 (Debian)" or "18beta1". It is
// 0 if there is none.
func majorVersion(conn *pgconn.PgConn) int {
	version := conn.ParameterStatus("server_version")
	digits := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if digits >= 0 {
		version = version[:digits]
	}
	major, err := strconv.Atoi(version)
	if err != nil {
		return 0
	}
	return major
}
