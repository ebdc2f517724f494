package outbox

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// AdvanceReplays does one step of each running replay. It reports whether another step could do more at once. If not, the rate, undelivered
// retries or the end of the log stop it.
func (l *Leader) AdvanceReplays(ctx context.Context, names TenantNames) (more bool, err error) {
	rows, err := l.store.pool.Query(ctx, `SELECT id FROM replay WHERE state = 'running' ORDER BY id`)
	if err != nil {
		return false, fmt.Errorf("read replays: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return false, fmt.Errorf("read replays: %w", err)
	}
	for _, id := range ids {
		again, err := l.advanceReplay(ctx, id, names)
		if err != nil {
			return false, fmt.Errorf("replay %d: %w", id, err)
		}
		more = more || again
	}
	return more, nil
}

// advanceReplay does one step. It queues deliveries and moves the cursor in one transaction.
func (l *Leader) advanceReplay(ctx context.Context, id int64, names TenantNames) (more bool, err error) {
	err = pgx.BeginFunc(ctx, l.store.pool, func(tx pgx.Tx) error {
		r, w := Replay{ID: id}, replayWebhook{}
		var elapsed float64 // seconds of the rate that are not used up
		err := tx.QueryRow(ctx, `SELECT r.webhook, r.cursor, r.through, r.events, r.tenant, r.resource, coalesce(r.since, '0001-01-01Z'),
				coalesce(r.until, '0001-01-01Z'), r.missed, r.rate, r.created, extract(epoch FROM clock_timestamp() - r.updated)::float8, `+replayWebhookColumns+`
			FROM replay r JOIN webhook w ON w.id = r.webhook CROSS JOIN watermark WHERE r.id = $1 AND r.state = 'running' FOR UPDATE OF r`, id).
			Scan(append([]any{
				&r.Webhook, &r.Cursor, &r.Through, &r.Events, &r.Tenant, &r.Resource, &r.Since, &r.Until, &r.Missed, &r.Rate, &r.Created, &elapsed,
			}, w.targets()...)...)
		switch {
		case errors.Is(err, pgx.ErrNoRows) || err == nil && w.removed:
			// Canceled meanwhile, or the webhook is removed.
			_, err = tx.Exec(ctx, `UPDATE replay SET state = 'canceled', updated = clock_timestamp() WHERE id = $1 AND state = 'running'`, id)
		case err == nil && w.enabled: // a disabled webhook keeps its replays
			more, err = r.step(ctx, tx, &w, names, elapsed)
		}
		if err != nil {
			return err
		}
		return l.confirm(ctx, tx)
	})
	return more, err
}

// confirm fails with ErrFenced unless this relay still leads. It must come last in a transaction: until the commit, a successor waits to start
// its epoch. Ingestion does not wait, because it locks position instead of watermark.
func (l *Leader) confirm(ctx context.Context, tx pgx.Tx) error {
	tag, err := tx.Exec(ctx, `SELECT FROM watermark WHERE epoch = $1 FOR SHARE`, l.epoch)
	if err != nil {
		return fmt.Errorf("check the epoch: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return nil
}

// step queues as many events as the rate and replayOutstanding allow.
func (r *Replay) step(ctx context.Context, tx pgx.Tx, w *replayWebhook, names TenantNames, elapsed float64) (more bool, err error) {
	var waiting int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM retry WHERE webhook = $1 AND event <= $2 AND created >= $3 AND due < 'infinity' LIMIT $4) AS p`,
		r.Webhook, r.Cursor, r.Created, replayOutstanding).Scan(&waiting); err != nil {
		return false, fmt.Errorf("count undelivered retries: %w", err)
	}
	allowed := int(math.Floor(min(elapsed, replayBurst.Seconds()) * float64(r.Rate)))
	limit := min(allowed, replayOutstanding-waiting)
	if limit <= 0 {
		return false, nil
	}
	through := min(r.Cursor+readSpan, r.Through)
	var chosen, queued, last int64
	err = tx.QueryRow(ctx, `WITH slice AS MATERIALIZED (`+replaySelect+` ORDER BY e.id LIMIT $17), queued AS (
			INSERT INTO retry (event, webhook, attempts, due, class, status, order_key) SELECT e.id, $1, 0, now(), '', 0, `+replayKeys+` FROM slice e ORDER BY e.id
			ON CONFLICT (event, webhook) DO UPDATE SET attempts = 0, due = excluded.due, class = '', status = 0, order_key = `+revivedKey+`,
				created = excluded.created WHERE retry.due = 'infinity'
			RETURNING event
		) SELECT (SELECT count(*) FROM slice), (SELECT coalesce(max(id), 0) FROM slice), (SELECT count(*) FROM queued)`,
		append(r.selection(w, names, r.Cursor, through), limit, w.ordering)...).Scan(&chosen, &last, &queued)
	if err != nil {
		return false, fmt.Errorf("queue events: %w", err)
	}
	r.Cursor = through
	if chosen == int64(limit) {
		r.Cursor = last
	}
	state := ReplayRunning
	if r.Cursor >= r.Through {
		state = ReplayDone
	}
	// updated is the time up to which the rate is used up, at most replayBurst ago.
	_, err = tx.Exec(ctx, `UPDATE replay SET cursor = $2, queued = queued + $3, state = $4,
			updated = CASE $4 WHEN 'done' THEN clock_timestamp() ELSE
				greatest(updated, clock_timestamp() - make_interval(secs => $5)) + make_interval(secs => $3::float8 / rate) END
		WHERE id = $1`, r.ID, r.Cursor, queued, state, replayBurst.Seconds())
	if err != nil {
		return false, fmt.Errorf("move the cursor: %w", err)
	}
	return state == ReplayRunning && chosen < int64(limit), nil
}
