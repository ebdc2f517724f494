package cdc

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const applicationName = "iam-relay"

// pinned settings make the texts of values independent of how the server, the database and the role are configured.
// The warning that a publication was skipped is only a notice, so notices must come.
var pinned = map[string]string{
	"application_name":    applicationName,
	"client_encoding":     "UTF8",
	"DateStyle":           "ISO",
	"TimeZone":            "UTC",
	"IntervalStyle":       "postgres",
	"extra_float_digits":  "3",
	"bytea_output":        "hex",
	"client_min_messages": "warning",
}

// connectConfig parses a connection URL and pins the settings.
func connectConfig(url string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the connection URL: %w", err)
	}
	maps.Copy(config.RuntimeParams, pinned)
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
