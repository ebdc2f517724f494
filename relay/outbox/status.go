package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Setting describes the outbox database and the role's privileges in it.
type Setting struct {
	Database, Role string
	// Encoding explains why the database cannot store every text; empty if it can.
	Encoding string
	// ReadOnly is set on a standby, or if the role may only read.
	ReadOnly bool
	// SchemaUsable: the role may create tables in the schema, as it does for each day's partitions.
	SchemaExists, SchemaUsable bool
	// SchemaEmpty: the schema has no tables.
	SchemaEmpty bool
	// MayCreateSchema: the role may create schemas in the database.
	MayCreateSchema bool
	// Migration is the newest applied migration, 0 for none; Known is the newest of this version.
	Migration, Known int
	// Foreign are the schema's tables whose owner is another role, which this role is not a member of; sorted.
	Foreign []string
}

// Setting inspects the database. A missing schema is not an error.
func (s *Store) Setting(ctx context.Context) (Setting, error) {
	_, newest, err := knownMigrations()
	if err != nil {
		return Setting{}, err
	}
	o := Setting{Known: newest}
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return o, fmt.Errorf("connect to the outbox: %w", cdc.ExplainConnectError(err))
	}
	defer conn.Release()
	var migrated bool
	err = conn.QueryRow(ctx, `SELECT current_database(), current_user, current_setting('transaction_read_only')::bool, has_database_privilege(current_database(), 'CREATE'),
			n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE'), false),
			NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid), EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'migration'),
			ARRAY(SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p') AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1)
		FROM (SELECT) AS one LEFT JOIN pg_namespace n ON n.nspname = $1`, s.schema).
		Scan(&o.Database, &o.Role, &o.ReadOnly, &o.MayCreateSchema, &o.SchemaExists, &o.SchemaUsable, &o.SchemaEmpty, &migrated, &o.Foreign)
	if err != nil {
		return o, fmt.Errorf("inspect schema %s: %w", s.schema, err)
	}
	o.Encoding = encodingProblem(conn.Conn().PgConn(), o.Database)
	if !migrated || !o.SchemaUsable || len(o.Foreign) > 0 {
		return o, nil
	}
	if err := conn.QueryRow(ctx, `SELECT coalesce(max(number), 0) FROM migration`).Scan(&o.Migration); err != nil {
		return o, fmt.Errorf("read table %s.migration: %w", s.schema, err)
	}
	return o, nil
}

// LeaderPID returns the backend PID of the session that holds the leader lock, or 0.
func (s *Store) LeaderPID(ctx context.Context) (int, error) {
	var pid int
	// An advisory lock with two keys has the first in classid, the second in objid, and 2 in objsubid.
	// https://www.postgresql.org/docs/current/view-pg-locks.html
	err := s.pool.QueryRow(ctx, `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid = $1 AND objid = $2`,
		lockLeader, uint32(s.lockKey())).Scan(&pid)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for the leader: %w", err)
	}
	return pid, nil
}

// LastEvent returns the newest event, without its body; nil if the event log is empty.
func (s *Store) LastEvent(ctx context.Context) (*Event, error) {
	var e Event
	err := s.pool.QueryRow(ctx, `SELECT id, webhook_id, name, coalesce(tenant, ''), resource, occurred FROM event ORDER BY id DESC LIMIT 1`).
		Scan(&e.ID, &e.WebhookID, &e.Name, &e.Tenant, &e.Resource, &e.Occurred)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the newest event: %w", err)
	}
	e.Occurred = e.Occurred.In(time.UTC)
	return &e, nil
}
