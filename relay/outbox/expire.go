package outbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Owed is the number of events of a partition that were not delivered to a webhook.
type Owed struct {
	ID     int64
	Name   string
	Events int64
}

// Expiry is the result of DropExpired for a partition.
type Expiry struct {
	Partition string
	// Owed are the webhooks that lose, or are about to lose, undelivered events.
	Owed []Owed
	// Dropped reports whether the partition was dropped. If not, it is kept for Kept more calls of DropExpired.
	Dropped bool
	Kept    int
}

// DropExpired drops the partitions of days that ended more than keep ago by the outbox server's clock. A partition that is in use is
// left for the next call.
//
// A wrong clock could expire events that were never attempted. A partition with undelivered events is therefore first reported, and
// dropped only after grace more calls, which do not depend on the clock. DropExpired returns the partitions that it dropped or reports.
func (l *Leader) DropExpired(ctx context.Context, keep time.Duration, grace int) ([]Expiry, error) {
	names, err := l.expired(ctx, keep)
	if err != nil {
		return nil, err
	}
	var expiries []Expiry
	for _, name := range names {
		e, err := l.expire(ctx, name, grace)
		if e != nil {
			expiries = append(expiries, *e)
		}
		switch {
		case isLockTimeout(err):
			return expiries, nil
		case err != nil:
			return expiries, fmt.Errorf("drop partition %s: %w", name, err)
		}
	}
	return expiries, nil
}

// expired lists the partitions past retention.
func (l *Leader) expired(ctx context.Context, keep time.Duration) ([]string, error) {
	var before time.Time
	if err := l.store.pool.QueryRow(ctx, `SELECT ((now() - $1::interval) AT TIME ZONE 'UTC')::date`, keep).Scan(&before); err != nil {
		return nil, fmt.Errorf("read the outbox's clock: %w", cdc.ExplainConnectError(err))
	}
	rows, err := l.store.pool.Query(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent IN ('event'::regclass, 'attempt'::regclass) ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", err)
	}
	var names []string
	for _, name := range all {
		if of, err := time.Parse(dayFormat, name[max(0, len(name)-len(dayFormat)):]); err == nil && of.Before(before) {
			names = append(names, name)
		}
	}
	return names, nil
}

func (l *Leader) expire(ctx context.Context, name string, grace int) (*Expiry, error) {
	owes, err := l.owes(ctx, name)
	if err != nil {
		return nil, err
	}
	e := &Expiry{Partition: name, Dropped: true}
	if owes {
		var calls int
		if err := l.store.pool.QueryRow(ctx, `INSERT INTO expiring AS e (partition, checks) VALUES ($1, 0)
			ON CONFLICT (partition) DO UPDATE SET checks = e.checks + 1 RETURNING checks`, name).Scan(&calls); err != nil {
			return nil, err
		}
		e.Kept = max(grace-calls, 0)
		e.Dropped = e.Kept == 0
		if calls > 0 && !e.Dropped {
			return nil, nil //nolint:nilnil // kept, and already reported
		}
		if e.Owed, err = l.owed(ctx, name); err != nil {
			return nil, err
		}
	}
	if !e.Dropped {
		return e, nil
	}
	if err := l.dropPartition(ctx, name); err != nil {
		return nil, err
	}
	return e, nil
}

// owes reports whether a partition may have undelivered events. It does not read the events.
func (l *Leader) owes(ctx context.Context, name string) (owes bool, err error) {
	if len(name) < len("event_") || name[:len("event_")] != "event_" {
		return false, nil
	}
	err = l.store.pool.QueryRow(ctx, `WITH ids AS (SELECT min(id) AS first, max(id) AS last FROM `+pgx.Identifier{name}.Sanitize()+`)
		SELECT EXISTS (SELECT FROM ids, retry p WHERE p.event BETWEEN ids.first AND ids.last AND p.due < 'infinity')
			OR EXISTS (SELECT FROM ids, watermark, webhook w WHERE coalesce(w.cursor, watermark.delivered) < ids.last
				AND (w.enabled OR w.removed_after IS NULL AND w.disabled_reason <> ''))`).Scan(&owes)
	return owes, err
}

// owed counts the undelivered events of a partition by webhook.
func (l *Leader) owed(ctx context.Context, name string) ([]Owed, error) {
	rows, err := l.store.pool.Query(ctx, `WITH ids AS (SELECT min(id) AS first, max(id) AS last FROM `+pgx.Identifier{name}.Sanitize()+`), owed AS (
			SELECT p.webhook FROM ids, retry p WHERE p.event BETWEEN ids.first AND ids.last AND p.due < 'infinity'
			UNION ALL
			SELECT u.webhook FROM watermark, `+pgx.Identifier{name}.Sanitize()+` e, unnest(e.webhooks) AS u(webhook), webhook w
			WHERE w.id = u.webhook AND e.id > coalesce(w.cursor, watermark.delivered) AND (w.removed_after IS NULL OR w.removed_after >= e.id)
				AND NOT EXISTS (SELECT FROM retry p WHERE p.event = e.id AND p.webhook = u.webhook)
		) SELECT w.id, coalesce(nullif(w.name, ''), w.origin || ':' || w.key), count(*)
		FROM owed JOIN webhook w ON w.id = owed.webhook WHERE w.enabled OR w.removed_after IS NULL GROUP BY w.id ORDER BY w.id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Owed])
}
