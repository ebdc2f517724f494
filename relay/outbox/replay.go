package outbox

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// ReplayState is the state of a replay.
type ReplayState string

// States of a replay. When it is done, all its deliveries are queued, but not necessarily delivered.
const (
	ReplayRunning  ReplayState = "running"
	ReplayDone     ReplayState = "done"
	ReplayCanceled ReplayState = "canceled"
)

// Replay delivers a range of the event log to a webhook again. It is a row that the leader processes, so it survives a restart.
type Replay struct {
	ID      int64
	Webhook int64
	State   ReplayState
	// Cursor is the last event that was examined, Through the last one to examine.
	Cursor, Through int64
	// Events are patterns; empty for those of the webhook.
	Events           []string
	Tenant, Resource string
	Since, Until     time.Time // of the commit time; zero for no bound
	// Missed selects only events that were never delivered to the webhook.
	Missed bool
	// Rate is the number of events queued per second, at least 1.
	Rate             int
	Queued           int64
	Created, Updated time.Time
}

// ReplayProgress is a replay and the state of its deliveries.
type ReplayProgress struct {
	Replay
	// Of the Queued deliveries, Waiting are not delivered yet, Dead failed for good, and Skipped were dropped by command.
	Waiting, Dead, Skipped int64
}

// Delivered is the number of deliveries that succeeded.
func (p *ReplayProgress) Delivered() int64 { return max(0, p.Queued-p.Waiting-p.Dead-p.Skipped) }

// replayKeys is the order key of a replayed delivery of event e, for ordering $18. Replays do not block live deliveries.
const replayKeys = `CASE $18 WHEN 'strict' THEN 'replay' WHEN 'resource' THEN 'replay:' || indexed(e.resource) END`

// revivedKey is the order key of a dead delivery that is tried again. With ordering by resource, later events have passed it already, so it no
// longer blocks them.
const revivedKey = `CASE WHEN retry.order_key LIKE 'r:%' THEN 'replay:' || substr(retry.order_key, 3) ELSE retry.order_key END`

const (
	// replayOutstanding bounds the undelivered retries of a replay, so that a failing endpoint does not get a row for every event of the
	// log.
	replayOutstanding = 1000
	// replayBurst bounds the unused rate that a replay may catch up on, in time.
	replayBurst = 2 * time.Second
)

// replaySelect selects events e of a range of the log for a webhook.
//
// Tenants come first: an event without a tenant goes to no one, and a webhook gets only events of its tenant. If it names the tenant by name,
// it gets only events that it was subscribed to, of a tenant that still has that name. Events that are still to be delivered, or retrying,
// are left out. Operational events go only to webhooks that ask for them by more than a star.
const replaySelect = `SELECT e.id, e.resource FROM event e WHERE e.id > $2 AND e.id <= $3 AND e.tenant IS NOT NULL
	AND ($4::boolean OR e.tenant = $5 OR $6::boolean AND $1 = ANY (e.webhooks) AND EXISTS (SELECT FROM mirror m
		WHERE m.table_name = $14 COLLATE "C" AND m.key = indexed(e.tenant) COLLATE "C" AND m.fields->>$15 = $5))
	AND e.name LIKE ANY (CASE WHEN e.name LIKE ANY ('{endpoint.%,delivery.%}') THEN $16 ELSE $7::text[] END) AND ($8 = '' OR e.tenant = $8) AND ($9 = '' OR e.resource = $9)
	AND ($10::timestamptz IS NULL OR e.occurred >= $10) AND ($11::timestamptz IS NULL OR e.occurred < $11)
	AND NOT ($1 = ANY (e.webhooks) AND e.id > $12)
	AND NOT EXISTS (SELECT FROM retry p WHERE p.event = e.id AND p.webhook = $1 AND p.due < 'infinity')
	AND (NOT $13::boolean OR e.id NOT IN (SELECT a.event FROM attempt a
		WHERE a.event > $2 AND a.event <= $3 AND a.webhook = $1 AND a.class = 'delivered'))`

// replayWebhook holds the columns of a webhook that a replay needs.
type replayWebhook struct {
	origin, tenant   string
	events           []string
	enabled, removed bool
	ordering         string
	done             int64 // its events up to here were delivered, or are retries
}

const replayWebhookColumns = `w.origin, w.tenant, w.events, w.enabled, w.removed_after IS NOT NULL, coalesce(w.options::json->>'ordering', ''), coalesce(w.cursor, watermark.delivered)`

func (w *replayWebhook) targets() []any {
	return []any{&w.origin, &w.tenant, &w.events, &w.enabled, &w.removed, &w.ordering, &w.done}
}

// uuidShape tells a tenant's key from its name.
var uuidShape = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// TenantNames is the mirrored table and column with the names of tenants; both are empty if tenants have no names.
type TenantNames struct{ Table, Column string }

// TenantsNamed returns the keys of the tenants with the given name.
func (s *Store) TenantsNamed(ctx context.Context, table, column, name string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `SELECT key FROM mirror WHERE table_name = $1 COLLATE "C" AND fields->>$2 = $3 ORDER BY key`, table, column, name)
	if err != nil {
		return nil, fmt.Errorf("look up the tenant's name: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look up the tenant's name: %w", err)
	}
	return keys, nil
}

// ReplaysSubscribedOnly reports whether a webhook's tenant may be a name. Events have the tenant's key, so such a webhook is replayed only
// events that it was subscribed to, of a tenant that still has the name.
func ReplaysSubscribedOnly(origin, tenant string) bool {
	return origin != OriginIAM && tenant != "*" && !uuidShape.MatchString(tenant)
}

// selection returns the parameters of replaySelect for a range of the log.
func (r *Replay) selection(w *replayWebhook, names TenantNames, after, through int64) []any {
	events := r.Events
	if len(events) == 0 {
		events = w.events
	}
	var operational []string
	for _, p := range events {
		if strings.HasPrefix(p, "endpoint.") || strings.HasPrefix(p, "delivery.") {
			operational = append(operational, p)
		}
	}
	everyTenant := w.origin != OriginIAM && w.tenant == "*"
	return []any{
		r.Webhook, after, through, everyTenant, w.tenant, ReplaysSubscribedOnly(w.origin, w.tenant), likes(events), r.Tenant, r.Resource,
		timeOrNull(r.Since), timeOrNull(r.Until), w.done, r.Missed, names.Table, names.Column, likes(operational),
	}
}

// Span sets Cursor and Through to the range of the log that contains the events between Since and Until, or all events. It reports whether
// there are any.
func (s *Store) Span(ctx context.Context, r *Replay) (bool, error) {
	sql, arguments := `SELECT coalesce(min(id), 0) - 1, coalesce(max(id), 0) FROM event`, []any{}
	if !r.Since.IsZero() || !r.Until.IsZero() {
		sql, arguments = sql+` WHERE ($1::timestamptz IS NULL OR occurred >= $1 AND `+storedSince+`$1)::date) AND ($2::timestamptz IS NULL OR occurred < $2)`,
			[]any{timeOrNull(r.Since), timeOrNull(r.Until)}
	}
	if err := s.pool.QueryRow(ctx, sql, arguments...).Scan(&r.Cursor, &r.Through); err != nil {
		return false, fmt.Errorf("read the event log: %w", err)
	}
	return r.Through > 0, nil
}

// CountReplay returns how many events a replay would queue now.
func (s *Store) CountReplay(ctx context.Context, r *Replay, names TenantNames) (int64, error) {
	var w replayWebhook
	err := s.pool.QueryRow(ctx, `SELECT `+replayWebhookColumns+` FROM webhook w, watermark WHERE w.id = $1`, r.Webhook).Scan(w.targets()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrWebhookGone
	}
	if err != nil {
		return 0, fmt.Errorf("read webhook %d: %w", r.Webhook, err)
	}
	var all int64
	for after := r.Cursor; after < r.Through; after += readSpan {
		var n int64
		if err := s.pool.QueryRow(ctx, `SELECT count(*) FROM (`+replaySelect+`) AS slice`,
			r.selection(&w, names, after, min(after+readSpan, r.Through))...).Scan(&n); err != nil {
			return 0, fmt.Errorf("count events to replay: %w", err)
		}
		all += n
	}
	return all, nil
}

// CreateReplay stores a replay for the leader, and returns its id.
func (s *Store) CreateReplay(ctx context.Context, r *Replay) (int64, error) {
	var id int64
	err := s.pool.QueryRow(ctx, `INSERT INTO replay (webhook, cursor, through, events, tenant, resource, since, until, missed, rate)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id`, r.Webhook, r.Cursor, r.Through, append([]string{}, r.Events...), r.Tenant,
		r.Resource, timeOrNull(r.Since), timeOrNull(r.Until), r.Missed, r.Rate).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("store the replay: %w", err)
	}
	return id, nil
}

// CancelReplay stops a replay. It reports whether the replay was running. Queued deliveries are still made.
func (s *Store) CancelReplay(ctx context.Context, id int64) (bool, error) {
	tag, err := s.pool.Exec(ctx, `UPDATE replay SET state = 'canceled', updated = clock_timestamp() WHERE id = $1 AND state = 'running'`, id)
	if err != nil {
		return false, fmt.Errorf("cancel replay %d: %w", id, err)
	}
	return tag.RowsAffected() > 0, nil
}

// replayProgress counts the retries created since the replay, up to its cursor. That may include other deliveries that failed in that time.
const replayProgress = `SELECT r.id, r.webhook, r.state, r.cursor, r.through, r.events, r.tenant, r.resource, coalesce(r.since, '0001-01-01Z'),
		coalesce(r.until, '0001-01-01Z'), r.missed, r.rate, r.queued, r.created, r.updated, p.waiting, p.dead,
		(SELECT count(DISTINCT a.event) FROM attempt a WHERE a.day >= r.created::date AND a.at >= r.created AND a.webhook = r.webhook
			AND a.event <= r.cursor AND a.class = 'canceled' AND r.queued > 0)
	FROM replay r, LATERAL (SELECT count(*) FILTER (WHERE due < 'infinity') AS waiting, count(*) FILTER (WHERE due = 'infinity') AS dead
		FROM retry WHERE webhook = r.webhook AND event <= r.cursor AND created >= r.created) AS p
	WHERE $1::bigint = 0 OR r.id = $1 ORDER BY r.id DESC LIMIT $2`

// Replays returns replays with their progress, newest first; only the one with the given id unless that is 0.
func (s *Store) Replays(ctx context.Context, id int64, limit int) ([]ReplayProgress, error) {
	rows, err := s.pool.Query(ctx, replayProgress, id, limit)
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ReplayProgress, error) {
		var p ReplayProgress
		err := row.Scan(&p.ID, &p.Webhook, &p.State, &p.Cursor, &p.Through, &p.Events, &p.Tenant, &p.Resource, &p.Since, &p.Until, &p.Missed, &p.Rate,
			&p.Queued, &p.Created, &p.Updated, &p.Waiting, &p.Dead, &p.Skipped)
		p.Created, p.Updated, p.Since, p.Until = p.Created.UTC(), p.Updated.UTC(), p.Since.UTC(), p.Until.UTC()
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("read replays: %w", err)
	}
	return all, nil
}
