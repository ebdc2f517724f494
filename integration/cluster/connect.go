package cluster

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Port is the TCP port on 127.0.0.1. It stays the same for the cluster's life.
func (c *Cluster) Port() int { return c.port }

// Dir is the directory that holds the data directory, "data", and the log.
func (c *Cluster) Dir() string { return c.dir }

// SocketDir is the directory of the server's Unix socket.
func (c *Cluster) SocketDir() string { return c.socketDir }

// URL addresses a database over TCP as the superuser.
func (c *Cluster) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(Superuser), Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// SocketURL addresses a database over the server's Unix socket as the superuser.
func (c *Cluster) SocketURL(database string) string {
	query := url.Values{"host": {c.socketDir}, "port": {strconv.Itoa(c.port)}, "user": {Superuser}, "sslmode": {"disable"}}
	u := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}

// Connect opens a connection to a database as the superuser.
func (c *Cluster) Connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, c.URL(database))
	if err != nil {
		return nil, fmt.Errorf("connect to database %s: %w", database, err)
	}
	return conn, nil
}

// CreateDatabase creates an empty database.
func (c *Cluster) CreateDatabase(ctx context.Context, name string) error {
	return c.createDatabase(ctx, name, "")
}

// CreateEncodedDatabase creates an empty database whose texts are in the given encoding.
func (c *Cluster) CreateEncodedDatabase(ctx context.Context, name, encoding string) error {
	return c.createDatabase(ctx, name, " ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
}

func (c *Cluster) createDatabase(ctx context.Context, name, options string) error {
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()+options); err != nil {
		return fmt.Errorf("create database %s: %w", name, err)
	}
	return nil
}

// DropDatabase drops a database with everything that would keep it: its sessions and its replication slots. Nobody may
// be left who connects again, such as a running relay.
func (c *Cluster) DropDatabase(ctx context.Context, name string) error {
	conn, err := c.Connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := dropSlots(ctx, conn, name); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// dropSlots ends the walsenders of a database's slots and drops each slot once its walsender has released it.
func dropSlots(ctx context.Context, conn *pgx.Conn, database string) error {
	for {
		var left int
		if _, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = $1 AND NOT active`, database); err != nil {
			return fmt.Errorf("drop the replication slots of database %s: %w", database, err)
		}
		err := conn.QueryRow(ctx, `SELECT count(*), count(pg_terminate_backend(active_pid)) FROM pg_replication_slots WHERE database = $1`, database).Scan(&left, nil)
		if err != nil {
			return fmt.Errorf("end the walsenders of database %s: %w", database, err)
		}
		if left == 0 {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("drop the replication slots of database %s: %d are still in use: %w", database, left, err)
		}
	}
}
