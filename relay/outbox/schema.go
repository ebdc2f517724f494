package outbox

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// encodingProblem explains why a database cannot store every text, or returns an empty string. SQL_ASCII stores bytes unchanged.
func encodingProblem(conn *pgconn.PgConn, database string) string {
	encoding := conn.ParameterStatus("server_encoding")
	if encoding == "UTF8" || encoding == "SQL_ASCII" {
		return ""
	}
	return fmt.Sprintf("database %s has encoding %s, which cannot store all characters of events and responses; "+
		"as an administrator, run: CREATE DATABASE iam_relay ENCODING 'UTF8' TEMPLATE template0; and name that database in outbox.url", database, encoding)
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
		return fmt.Errorf("outbox database %s is read-only for role %s: if it is a standby, set outbox.url to the primary", database, role)
	}
	if exists && !usable { // PostgreSQL would only report "no schema has been selected to create in"
		return fmt.Errorf("role %s may not create tables in schema %s; as the schema's owner, run: GRANT USAGE, CREATE ON SCHEMA %s TO %s", role, s.schema, schema, quotedRole)
	}
	if exists {
		return nil
	}
	if _, err := tx.Exec(ctx, `CREATE SCHEMA `+schema); err != nil {
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42501" {
			return fmt.Errorf("create schema %s: %s; as the owner of the database, run: %s or: GRANT CREATE ON DATABASE %s TO %s",
				s.schema, pg.Message, SchemaSQL(s.schema, role), pgx.Identifier{database}.Sanitize(), quotedRole)
		}
		return fmt.Errorf("create schema %s: %w", s.schema, err)
	}
	return nil
}

// SchemaSQL returns the statements that create the schema and let the role create tables in it. They need CREATE on the database and
// nothing else; making the role the owner would need a superuser or a member of the role.
func SchemaSQL(schema, role string) string {
	name := pgx.Identifier{schema}.Sanitize()
	return fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s; GRANT USAGE, CREATE ON SCHEMA %s TO %s;", name, name, pgx.Identifier{role}.Sanitize())
}

// Drop removes the outbox schema and everything in it. If the schema belongs to another role, as after setup by an administrator, only its
// contents are removed, and kept says what the owner has to run.
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
		kept = fmt.Sprintf("schema %s is empty now but belongs to role %s; as that role, run: DROP SCHEMA %s", s.schema, owner, schema)
		return s.dropContents(ctx, tx)
	})
	if err != nil {
		return "", fmt.Errorf("drop schema %s: %w", s.schema, err)
	}
	return kept, nil
}

// dropContents drops all tables, sequences and functions of the schema. Partitions and identity sequences go with their tables.
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
