package outbox

import (
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Lock classes of pg_advisory_lock(int, int); the second number is derived from the schema's name.
const (
	lockMigrate = 0x1a3e1a
	lockLeader  = 0x1a3e1b
	lockWebhook = 0x1a3e1c // changes of webhooks by command
)

func (s *Store) lockKey() int32 {
	h := fnv.New32a()
	h.Write([]byte(s.schema))
	return int32(h.Sum32())
}

// Migrate creates the schema or updates it. An advisory lock serializes relays that start at the same time.
func (s *Store) Migrate(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the outbox: %w", cdc.ExplainConnectError(err))
	}
	defer conn.Release()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, lockMigrate, s.lockKey()); err != nil {
			return fmt.Errorf("lock the outbox schema: %w", err)
		}
		if err := s.createSchema(ctx, tx); err != nil {
			return err
		}
		return s.applyMigrations(ctx, tx)
	})
}

func (s *Store) applyMigrations(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, `CREATE TABLE IF NOT EXISTS migration (number int PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())`); err != nil {
		return fmt.Errorf("create table %s.migration: %w", s.schema, err)
	}
	rows, err := tx.Query(ctx, `SELECT number FROM migration`)
	if err != nil {
		return fmt.Errorf("read table %s.migration: %w", s.schema, err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return fmt.Errorf("read table %s.migration: %w", s.schema, err)
	}
	files, newest, err := knownMigrations()
	if err != nil {
		return err
	}
	if len(applied) > 0 && slices.Max(applied) > newest {
		return fmt.Errorf("schema %s was created by a newer iam-relay (migration %d, this version knows %d): run that version", s.schema, slices.Max(applied), newest)
	}
	for _, f := range files {
		number, err := migrationNumber(f)
		if err != nil {
			return err
		}
		if slices.Contains(applied, number) {
			continue
		}
		sql, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return fmt.Errorf("read migration %s: %w", f.Name(), err)
		}
		if _, err := tx.Exec(ctx, string(sql), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("apply migration %s to schema %s: %w", f.Name(), s.schema, err)
		}
		if _, err := tx.Exec(ctx, `INSERT INTO migration (number) VALUES ($1)`, number); err != nil {
			return fmt.Errorf("record migration %s: %w", f.Name(), err)
		}
	}
	return nil
}

// knownMigrations returns the embedded migrations in order, and the number of the newest.
func knownMigrations() (files []fs.DirEntry, newest int, err error) {
	if files, err = migrations.ReadDir("migrations"); err != nil {
		return nil, 0, fmt.Errorf("list migrations: %w", err)
	}
	newest, err = migrationNumber(files[len(files)-1])
	return files, newest, err
}

// SchemaVersion returns the number of the newest migration of this program.
func SchemaVersion() int {
	_, newest, err := knownMigrations()
	if err != nil {
		panic(err) // the migrations are embedded
	}
	return newest
}

func migrationNumber(f fs.DirEntry) (int, error) {
	number, err := strconv.Atoi(strings.SplitN(f.Name(), "_", 2)[0])
	if err != nil {
		return 0, fmt.Errorf("migration %s: its name does not begin with a number", f.Name())
	}
	return number, nil
}
