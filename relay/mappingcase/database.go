package mappingcase

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// createDatabase creates an empty database, and returns its URL, its name and what drops it with its slot.
func createDatabase(ctx context.Context, server string) (databaseURL, name string, drop func() error, err error) {
	name = "iam_relay_case_" + strings.ToLower(rand.Text())
	conn, err := cdc.Connect(ctx, server)
	if err != nil {
		return "", "", nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+" TEMPLATE template0"); err != nil {
		return "", "", nil, fmt.Errorf("create a database for the case: %w; name a server with --url where the role may create databases and replicate", err)
	}
	drop = func() error { return dropDatabase(context.WithoutCancel(ctx), server, name) }
	return withDatabase(server, name), name, drop, nil
}

func dropDatabase(ctx context.Context, server, name string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := cdc.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	own, err := cdc.Connect(ctx, withDatabase(server, name)) // A slot is dropped in its database.
	if err != nil {
		return err
	}
	err = dropSlot(ctx, own, name)
	own.Close(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s of the case: %w", name, err)
	}
	return nil
}

// withDatabase returns a connection string with another database.
func withDatabase(server, name string) string {
	if u, err := url.Parse(server); err == nil && u.Scheme != "" {
		u.Path = "/" + name
		return u.String()
	}
	return server + " dbname='" + name + "'" // the last one counts
}

// connect opens a connection with the settings that an application gets.
func connect(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, cdc.ErrURL
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database of the case: %w", cdc.ExplainConnectError(err))
	}
	return conn, nil
}
