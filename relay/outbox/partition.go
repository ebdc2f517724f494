package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
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
			name := table + "_" + day.Format(dayFormat)
			if _, err := l.store.pool.Exec(ctx, fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM ('%s') TO ('%s')`,
				pgx.Identifier{name}.Sanitize(), table, day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly))); err != nil {
				return fmt.Errorf("create partition %s: %w", name, err)
			}
		}
	}
	return nil
}

// DropBefore drops the partitions of days before the given one and returns their names. Rows are never deleted one by one.
func (s *Store) DropBefore(ctx context.Context, day time.Time) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
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
		if _, err := s.pool.Exec(ctx, `DROP TABLE `+pgx.Identifier{name}.Sanitize()); err != nil {
			return dropped, fmt.Errorf("drop partition %s: %w", name, err)
		}
		dropped = append(dropped, name)
	}
	return dropped, nil
}
