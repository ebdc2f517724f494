// Package outbox stores the relay's durable state in one schema of a PostgreSQL database: the position in the IAM's WAL, the mirror of
// its rows, the event log, the subscriptions and the failed deliveries. The events, mirror changes and position of a source
// transaction commit together, so every committed change enters the outbox exactly once.
package outbox

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/cdc"
)

// ErrFenced reports that another relay has taken over. The write was rolled back, and this relay must stop writing.
var ErrFenced = errors.New("another relay has taken over the outbox")

// fencedCode is the SQLSTATE that the schema's functions raise.
const fencedCode = "IR001"

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Store gives access to the outbox database. It is safe for concurrent use.
type Store struct {
	pool   *pgxpool.Pool
	config *pgxpool.Config
	schema string
	keys   *keys
	clock  clock
}

// Open prepares a connection pool, which connects on first use. Errors never contain the URL, since it may hold a password. Secrets of
// webhooks are encrypted with the first of the keys, which have KeyBytes bytes each, and decrypted with any; without keys they are stored
// in plain text.
func Open(url, schema string, encryptionKeys [][]byte) (*Store, error) {
	if !schemaName.MatchString(schema) {
		return nil, fmt.Errorf("outbox schema %q: use lower-case letters, digits and underscores", schema)
	}
	keys, err := newKeys(encryptionKeys)
	if err != nil {
		return nil, err
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("outbox url: %w", redactParse(err))
	}
	config.MaxConns = max(config.MaxConns, 8)
	config.MaxConnIdleTime = 5 * time.Minute
	session(config.ConnConfig, schema)
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, fmt.Errorf("outbox pool: %w", err)
	}
	return &Store{pool: pool, config: config, schema: schema, keys: keys}, nil
}

// session pins the settings of every connection. Only the relay creates functions in its schema, and pg_catalog is searched before it,
// so search_path is safe.
func session(c *pgx.ConnConfig, schema string) {
	c.ConnectTimeout = 5 * time.Second
	cdc.PinSettings(&c.Config, map[string]string{"search_path": pgx.Identifier{schema}.Sanitize() + ", pg_temp"})
	pin := c.AfterConnect
	c.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := pin(ctx, conn); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, compressWithLZ4).ReadAll(); err != nil {
			return fmt.Errorf("set default_toast_compression: %w", err)
		}
		return nil
	}
}

// compressWithLZ4 selects LZ4 for large values where the server was built with it. The default, pglz, is several times slower and
// dominates the time of a commit with large bodies.
const compressWithLZ4 = `SELECT set_config(name, 'lz4', false) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)`

// closeWait bounds Close when connections are dead.
const closeWait = 3 * time.Second

// Close closes all connections. It gives up on dead ones after closeWait.
func (s *Store) Close() {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.pool.Close()
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
	}
}

// Ping checks that the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Schema returns the name of the outbox schema.
func (s *Store) Schema() string { return s.schema }

// fenced turns fencedCode into ErrFenced, and adds the fix to a permission error.
func fenced(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case fencedCode:
			return fmt.Errorf("%w: %s", ErrFenced, pg.Message)
		case "42501":
			return fmt.Errorf("%w; the relay's role needs all privileges in its own schema: as the schema's owner, run GRANT ALL ON ALL TABLES IN SCHEMA … (outbox.schema) TO the role", err)
		}
	}
	return err
}

// redactParse removes the connection string from a parse error of pgx.
func redactParse(err error) error {
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		if inner := errors.Unwrap(parse); inner != nil {
			return inner
		}
	}
	return errors.New("not a valid PostgreSQL connection string")
}
