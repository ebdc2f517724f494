package outbox

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Lock classes of pg_advisory_lock(int, int); the second number is derived from the schema's name.
const (
	lockMigrate = 0x1a3e1a
	lockLeader  = 0x1a3e1b
	lockHand    = 0x1a3e1c
)

func (s *Store) lockKey() int32 {
	h := fnv.New32a()
	h.Write([]byte(s.schema))
	return int32(h.Sum32())
}

// Migrate creates the schema or brings it up to date. Relays that start together take turns by an advisory lock.
func (s *Store) Migrate(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect to the outbox: %w", cdc.ConnectReason(err))
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

// encodingProblem says why a database cannot store all texts; empty if it can. In SQL_ASCII, it stores them as they are.
func encodingProblem(conn *pgconn.PgConn, database string) string {
	encoding := conn.ParameterStatus("server_encoding")
	if encoding == "UTF8" || encoding == "SQL_ASCII" {
		return ""
	}
	return fmt.Sprintf("database %s is in the encoding %s, which lacks characters that events and the answers of endpoints may have; "+
		"let an administrator run: CREATE DATABASE iam_relay ENCODING 'UTF8' TEMPLATE template0; and name that database in outbox.url", database, encoding)
}

func (s *Store) createSchema(ctx context.Context, tx pgx.Tx) error {
	var exists, usable, readOnly bool
	var database, role string
	err := tx.QueryRow(ctx, `SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE'), false),
			current_database(), current_user, current_setting('transaction_read_only')::bool FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1`, s.schema).
		Scan(&exists, &usable, &database, &role, &readOnly)
	if err != nil {
		return fmt.Errorf("look for schema %s: %w", s.schema, err)
	}
	if problem := encodingProblem(tx.Conn().PgConn(), database); problem != "" {
		return errors.New("the outbox: " + problem)
	}
	schema, quotedRole := pgx.Identifier{s.schema}.Sanitize(), pgx.Identifier{role}.Sanitize()
	if readOnly {
		return fmt.Errorf("the outbox's database %s is read-only for role %s: name the primary if this is a standby", database, role)
	}
	if exists && !usable { // PostgreSQL would only say that there is no schema to create in
		return fmt.Errorf("role %s may not make tables in schema %s; let its owner run: GRANT USAGE, CREATE ON SCHEMA %s TO %s", role, s.schema, schema, quotedRole)
	}
	if exists {
		return nil
	}
	if _, err := tx.Exec(ctx, `CREATE SCHEMA `+schema); err != nil {
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42501" {
			return fmt.Errorf("create schema %s: %s; let the owner of the database run: %s or: GRANT CREATE ON DATABASE %s TO %s",
				s.schema, pg.Message, SchemaSQL(s.schema, role), pgx.Identifier{database}.Sanitize(), quotedRole)
		}
		return fmt.Errorf("create schema %s: %w", s.schema, err)
	}
	return nil
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
		return fmt.Errorf("schema %s is of a newer iam-relay (migration %d, this one knows %d): run that version", s.schema, slices.Max(applied), newest)
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

// knownMigrations are those of this program, in order, and the number of the newest.
func knownMigrations() (files []fs.DirEntry, newest int, err error) {
	if files, err = migrations.ReadDir("migrations"); err != nil {
		return nil, 0, fmt.Errorf("list migrations: %w", err)
	}
	newest, err = migrationNumber(files[len(files)-1])
	return files, newest, err
}

func migrationNumber(f fs.DirEntry) (int, error) {
	number, err := strconv.Atoi(strings.SplitN(f.Name(), "_", 2)[0])
	if err != nil {
		return 0, fmt.Errorf("migration %s: its name does not begin with a number", f.Name())
	}
	return number, nil
}

// SchemaSQL makes the schema for the outbox's tables, which the role creates in it. It needs CREATE on the database and nothing else: only
// a superuser or a member of the role could make the role the schema's owner.
func SchemaSQL(schema, role string) string {
	name := pgx.Identifier{schema}.Sanitize()
	return fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s; GRANT USAGE, CREATE ON SCHEMA %s TO %s;", name, name, pgx.Identifier{role}.Sanitize())
}

// Drop removes the relay's schema with everything in it. Where the schema belongs to another role, such as the one that ran setup, only
// the relay's tables are removed, and kept tells what that role has to run.
func (s *Store) Drop(ctx context.Context) (kept string, err error) {
	schema := pgx.Identifier{s.schema}.Sanitize()
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var owner string
		var owned bool
		err := tx.QueryRow(ctx, `SELECT pg_get_userbyid(nspowner), pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = $1`, s.schema).Scan(&owner, &owned)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if owned {
			_, err = tx.Exec(ctx, `DROP SCHEMA `+schema+` CASCADE`)
			return err
		}
		kept = fmt.Sprintf("schema %s stays, empty, since it belongs to role %s; let that run: DROP SCHEMA %s", s.schema, owner, schema)
		return s.dropContents(ctx, tx)
	})
	if err != nil {
		return "", fmt.Errorf("drop schema %s: %w", s.schema, err)
	}
	return kept, nil
}

// dropContents drops all tables, sequences and functions of the schema. What is part of another one, such as a partition, goes with that.
func (s *Store) dropContents(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `SELECT 'DROP TABLE ' || string_agg(c.oid::regclass::text, ', ') || ' CASCADE'
			FROM pg_class c WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind IN ('r', 'p') AND NOT c.relispartition HAVING count(*) > 0
		UNION ALL SELECT 'DROP SEQUENCE ' || string_agg(c.oid::regclass::text, ', ') || ' CASCADE'
			FROM pg_class c WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) AND c.relkind = 'S'
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')) HAVING count(*) > 0
		UNION ALL SELECT 'DROP FUNCTION ' || string_agg(p.oid::regprocedure::text, ', ') || ' CASCADE'
			FROM pg_proc p WHERE p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) HAVING count(*) > 0`, s.schema)
	if err != nil {
		return err
	}
	statements, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
