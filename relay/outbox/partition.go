package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const dayFormat = "20060102"

func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// partitioned are the tables that are kept by the day and dropped by the day.
var partitioned = []string{"event", "attempt"}

// EnsurePartitions makes the partitions of today and tomorrow where they are missing. Few DDL statements: a lagging slot
// holds back the vacuum of the catalogue.
func (l *Leader) EnsurePartitions(ctx context.Context) error {
	for _, day := range []time.Time{today(), today().AddDate(0, 0, 1)} {
		for _, table := range partitioned {
			if err := l.ensurePartition(ctx, table, day); err != nil {
				return fmt.Errorf("create partition %s of %s: %w", day.Format(dayFormat), table, err)
			}
		}
	}
	return nil
}

// ensurePartition attaches a new table, because CREATE TABLE … PARTITION OF locks out readers and writers of the whole table,
// and waits for those that are there: for hours, if one is a dump.
func (l *Leader) ensurePartition(ctx context.Context, table string, day time.Time) error {
	name := table + "_" + day.Format(dayFormat)
	var exists bool
	if err := l.store.pool.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, name).Scan(&exists); err != nil || exists {
		return err
	}
	quoted := pgx.Identifier{name}.Sanitize()
	return pgx.BeginFunc(ctx, l.store.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1, $2)`, lockMigrate, l.store.lockKey()); err != nil { // a former leader may do the same
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, name).Scan(&exists); err != nil || exists {
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

// DropBefore drops the partitions of days before the given one and returns their names. Rows are never deleted one by one. One
// that is in use is left for the next time.
func (l *Leader) DropBefore(ctx context.Context, day time.Time) ([]string, error) {
	rows, err := l.store.pool.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent IN ('event'::regclass, 'attempt'::regclass) ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	var dropped []string
	for _, name := range names {
		of, err := time.Parse(dayFormat, name[max(0, len(name)-len(dayFormat)):])
		if err != nil || !of.Before(day) {
			continue
		}
		switch err := l.dropPartition(ctx, name); {
		case isLockTimeout(err):
			return dropped, nil
		case err != nil:
			return dropped, fmt.Errorf("drop partition %s: %w", name, err)
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}

// dropPartition locks out readers and writers of the whole table. Everybody waits behind it while it waits for one of them.
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
		_, err := tx.Exec(ctx, `DROP TABLE IF EXISTS `+pgx.Identifier{name}.Sanitize())
		return err
	})
}

func isLockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "55P03"
}
