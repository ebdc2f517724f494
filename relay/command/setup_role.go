package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// relayRole is the state of the relay's role.
type relayRole struct{ exists, replicates, connects bool }

// canReplicate is true for a role r that may replicate. On Amazon RDS the right comes from a role instead of the attribute.
const canReplicate = `(r.rolreplication OR r.rolsuper
	OR coalesce((SELECT pg_has_role(r.oid, rds.oid, 'MEMBER') FROM pg_roles rds WHERE rds.rolname = 'rds_replication'), false))`

func lookUpRole(ctx context.Context, conn *pgx.Conn, name string) (relayRole, error) {
	role := relayRole{exists: true}
	err := conn.QueryRow(ctx, `SELECT `+canReplicate+`, has_database_privilege(r.oid, current_database(), 'CONNECT')
		FROM pg_roles r WHERE r.rolname = $1`, name).Scan(&role.replicates, &role.connects)
	if errors.Is(err, pgx.ErrNoRows) {
		return relayRole{}, nil
	}
	if err != nil {
		return role, fmt.Errorf("look up role %s: %w", name, err)
	}
	return role, nil
}

// replicates checks the one right that a role cannot grant itself.
func (s *setup) replicates(ctx context.Context, conn *pgx.Conn) error {
	role, err := lookUpRole(ctx, conn, s.role)
	if err != nil {
		return err
	}
	if !role.replicates {
		return fmt.Errorf("role %s may not replicate; ask an administrator to run: ALTER ROLE %s REPLICATION (on Amazon RDS: GRANT rds_replication TO %s)", s.role, quote(s.role), quote(s.role))
	}
	return nil
}

// grant grants the relay's role what it lacks, where another role runs setup.
func (s *setup) grant(ctx context.Context, conn *pgx.Conn, server cdc.Server, catalog *cdc.Catalog) error {
	role, err := lookUpRole(ctx, conn, s.role)
	if err != nil {
		return err
	}
	if !role.exists {
		return fmt.Errorf("role %s does not exist; ask an administrator to run CREATE ROLE %s LOGIN REPLICATION, give it a password (in psql: \\password %s), and run setup again",
			s.role, quote(s.role), s.role)
	}
	type step struct{ who, sql string }
	var steps []step
	if !role.replicates {
		steps = append(steps, step{"an administrator", fmt.Sprintf("ALTER ROLE %s REPLICATION;", quote(s.role))})
	}
	if !role.connects {
		steps = append(steps, step{"the owner of the database", fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", quote(server.Database), quote(s.role))})
	}
	lacking, err := s.missingGrants(ctx, conn, role, catalog)
	if err != nil {
		return err
	}
	for _, sql := range lacking {
		steps = append(steps, step{"the owner of the tables", sql})
	}
	if s.cfg.Outbox.URL == "" {
		exists, err := schemaExists(ctx, conn, s.cfg.Outbox.Schema)
		if err != nil {
			return err
		}
		if !exists { // CREATE SCHEMA IF NOT EXISTS fails without the right to create, even if the schema exists
			steps = append(steps, step{"the owner of the database", outbox.SchemaSQL(s.cfg.Outbox.Schema, s.role)})
		}
	}
	for _, step := range steps {
		if _, err := conn.Exec(ctx, step.sql); err != nil {
			if hasCode(err, codeNoPrivilege) {
				return &cdc.PermissionError{Action: "give role " + s.role + " its rights", RunAs: step.who, SQL: []string{step.sql}, Err: err}
			}
			return fmt.Errorf("%s %w", step.sql, err)
		}
	}
	if role, err = lookUpRole(ctx, conn, s.role); err != nil {
		return err
	}
	if !role.connects { // a GRANT by a role without the grant option may be only a warning
		return fmt.Errorf("role %s may not connect; ask the owner of the database to run: GRANT CONNECT ON DATABASE %s TO %s", s.role, quote(server.Database), quote(s.role))
	}
	s.done("role %s: may replicate, connect, and read the mapped columns", s.role)
	return nil
}
