// Package outbox keeps what the relay must not lose: the position in the IAM's log, the mirror of its rows, the log of
// events, the subscriptions, and the deliveries that failed. All of it in one schema of one PostgreSQL database, so that a
// source transaction's events, mirror changes and position commit together: that is what makes every committed change enter
// the outbox exactly once.
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

// ErrFenced says that another relay has taken over: this one's write was undone, and it must stop writing.
var ErrFenced = errors.New("another relay has taken over the outbox")

// fencedCode is the SQLSTATE that the schema's functions raise.
const fencedCode = "IR001"

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Store is the outbox database.
type Store struct {
	pool   *pgxpool.Pool
	config *pgxpool.Config
	schema string
	keys   *keys
	clock  clock
}

// Open prepares a pool; it connects on first use. The URL may hold a password and is never part of an error. The sealing keys, of KeyBytes
// each, seal what webhooks keep secret: the first one seals, all of them open. Without any nothing is sealed.
func Open(url, schema string, sealing [][]byte) (*Store, error) {
	if !schemaName.MatchString(schema) {
		return nil, fmt.Errorf("outbox schema %q: use lower-case letters, digits and underscores", schema)
	}
	keys, err := newKeys(sealing)
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

// session pins what the outbox relies on in each of its connections. The schema is the relay's own, so nobody else makes
// functions in it; pg_catalog is searched before it.
func session(c *pgx.ConnConfig, schema string) {
	c.ConnectTimeout = 5 * time.Second
	cdc.Pin(&c.Config, map[string]string{"search_path": pgx.Identifier{schema}.Sanitize() + ", pg_temp"})
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

// compressWithLZ4 compresses large bodies and rows several times faster than the default, which takes longer for them than all else
// that a commit does. Servers that were built without LZ4 do not have the value.
const compressWithLZ4 = `SELECT set_config(name, 'lz4', false) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)`

// closeWait is how long Close waits for connections that may lead nowhere any more.
const closeWait = 3 * time.Second

// Close ends all connections. Those that a firewall has forgotten it does not wait for.
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

// Ping asks the database for an answer.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Schema is the relay's schema.
func (s *Store) Schema() string { return s.schema }

// fenced turns the schema's own error into ErrFenced, and adds to a refusal what to do about it.
func fenced(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case fencedCode:
			return fmt.Errorf("%w: %s", ErrFenced, pg.Message)
		case "42501":
			return fmt.Errorf("%w; the relay's role needs all rights in its own schema: let the schema's owner GRANT ALL ON ALL TABLES IN it (outbox.schema) to the role", err)
		}
	}
	return err
}

// redactParse drops the connection string, which pgx puts into its parse errors.
func redactParse(err error) error {
	if parse, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		if inner := errors.Unwrap(parse); inner != nil {
			return inner
		}
	}
	return errors.New("not a PostgreSQL connection string")
}
