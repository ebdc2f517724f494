package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/cdc"
)

const dayFormat = "20060102"

// today is the day on which the transaction began, by the outbox server: the partition that a statement writes to.
const today = `(now() AT TIME ZONE 'UTC')::date`

// partitioned are the tables with one partition per day.
var partitioned = []string{"event", "attempt"}

// EnsurePartitions creates missing partitions of today and tomorrow. It avoids needless DDL, since a lagging slot prevents vacuum of the
// system catalogs.
func (l *Leader) EnsurePartitions(ctx context.Context) error {
	return l.store.ensureToday(ctx, partitioned...)
}

func (s *Store) ensureToday(ctx context.Context, tables ...string) error {
	var day time.Time
	if err := s.pool.QueryRow(ctx, `SELECT `+today).Scan(&day); err != nil {
		return fmt.Errorf("read the outbox's clock: %w", cdc.ExplainConnectError(err))
	}
	for _, day := range []time.Time{day, day.AddDate(0, 0, 1)} {
		for _, table := range tables {
			if err := s.ensurePartition(ctx, table, day); err != nil {
				return fmt.Errorf("create partition %s of %s: %w", day.Format(dayFormat), table, err)
			}
		}
	}
	return nil
}

// withPartitions calls write, which is one transaction. If the day has no partition, as after the server's clock was set or its machine was
// suspended, it creates the partition and calls write again.
func (s *Store) withPartitions(ctx context.Context, write func() error) error {
	err := write()
	for range 2 { // midnight may pass in between
		if !lacksPartition(err) {
			return err
		}
		if err := s.ensureToday(ctx, partitioned...); err != nil {
			return err
		}
		err = write()
	}
	return err
}

// lacksPartition reports whether an error says that there is no partition for a row.
func lacksPartition(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "23514" && pg.ConstraintName == ""
}

// isPartition reads the system catalogs, because to_regclass may answer from a cache that lacks what another session has just
// committed.
const isPartition = `SELECT EXISTS (SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::text::regclass AND c.relname = $2)`

// ensurePartition creates a table and attaches it. CREATE TABLE … PARTITION OF would take an ACCESS EXCLUSIVE lock on the whole table, and
// wait, perhaps for hours, for a running dump.
func (s *Store) ensurePartition(ctx context.Context, table string, day time.Time) error {
	name := table + "_" + day.Format(dayFormat)
	var exists bool
	if err := s.pool.QueryRow(ctx, isPartition, table, name).Scan(&exists); err != nil || exists {
		return err
	}
	quoted := pgx.Identifier{name}.Sanitize()
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, lockMigrate, s.lockKey()); err != nil { // a former leader may do so at the same time
			return err
		}
		if err := tx.QueryRow(ctx, isPartition, table, name).Scan(&exists); err != nil || exists {
			return err
		}
		if _, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS)`, quoted, table)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`,
			table, quoted, day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly)))
		return err
	})
}

// dropPartition needs an ACCESS EXCLUSIVE lock on the whole table. Its lock_timeout is short, because everyone else queues behind it.
func (l *Leader) dropPartition(ctx context.Context, name string) error {
	return pgx.BeginFunc(ctx, l.store.pool, func(tx pgx.Tx) error {
		var leads bool
		if err := tx.QueryRow(ctx, `SELECT epoch = $1 FROM position`, l.epoch).Scan(&leads); err != nil {
			return err
		}
		if !leads {
			return ErrFenced
		}
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '500ms'`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+pgx.Identifier{name}.Sanitize()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM expiring WHERE partition = $1`, name)
		return err
	})
}

func isLockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "55P03"
}
