package cdc

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
)

// connectConfig parses a connection URL and pins the settings.
func connectConfig(url string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, ErrURL
	}
	Pin(config, nil)
	config.ConnectTimeout = connectTimeout
	return config, nil
}

// replicationConfig is for a connection to a walsender.
func replicationConfig(url string) (*pgconn.Config, error) {
	config, err := connectConfig(url)
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["replication"] = "database"
	return config, nil
}

// TryReplication opens a replication connection and closes it again.
func TryReplication(ctx context.Context, url string) error {
	config, err := replicationConfig(url)
	if err != nil {
		return err
	}
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return ConnectReason(err)
	}
	defer closeConn(conn)
	if _, err := pglogrepl.IdentifySystem(ctx, conn); err != nil {
		return fmt.Errorf("%w; connect to the server itself, not by way of a pooler", err)
	}
	return nil
}

// closeWait bounds the goodbye to a server that may no longer listen.
const closeWait = 500 * time.Millisecond

func closeConn(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	// The connection is of no more use, whatever the error.
	_ = conn.Close(ctx)
}

// majorVersion reads the server_version that every server reports at the start of a session, such as "17.10 (Debian)"
// or "18beta1". It is 0 if there is none.
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
