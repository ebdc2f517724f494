package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// EventFilter selects events. The zero value selects all.
type EventFilter struct {
	// ID and WebhookID select one event; 0 and empty for any.
	ID        int64
	WebhookID string
	// Names are patterns as in webhooks, of which one must match; nil for any name.
	Names    []string
	Tenant   string // the tenant's key
	Resource string
	// Since (inclusive) and Until (exclusive) bound the commit time in the IAM; zero for no bound.
	Since, Until time.Time
}

// eventFilter is the SQL condition of an EventFilter on an event e, with parameters $1 to $7.
const eventFilter = `($1::bigint = 0 OR e.id = $1) AND ($2 = '' OR e.webhook_id = $2) AND ($3::text[] IS NULL OR e.name LIKE ANY ($3))
	AND ($4 = '' OR e.tenant = $4) AND ($5 = '' OR e.resource = $5)
	AND ($6::timestamptz IS NULL OR e.occurred >= $6 AND e.` + storedSince + `$6)::date) AND ($7::timestamptz IS NULL OR e.occurred < $7)`

func (f *EventFilter) parameters() []any {
	return []any{f.ID, f.WebhookID, likes(f.Names), f.Tenant, f.Resource, timeOrNull(f.Since), timeOrNull(f.Until)}
}

// likes converts patterns of event names, in which * stands for one or more words, to LIKE patterns.
func likes(patterns []string) []string {
	if patterns == nil {
		return nil
	}
	replacer := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `_%`)
	texts := make([]string, len(patterns))
	for i, p := range patterns {
		texts[i] = replacer.Replace(p)
	}
	return texts
}

const eventColumns = `e.id, e.webhook_id, e.name, coalesce(e.tenant, ''), e.resource, e.occurred, e.lsn::text, e.ordinal, e.webhooks, e.reconciled`

func scanEvent(row pgx.CollectableRow) (Event, error) {
	var e Event
	var lsn string
	err := row.Scan(&e.ID, &e.WebhookID, &e.Name, &e.Tenant, &e.Resource, &e.Occurred, &lsn, &e.Ordinal, &e.Webhooks, &e.Reconciled)
	if err != nil {
		return e, err
	}
	e.Occurred = e.Occurred.UTC()
	e.LSN, err = cdc.ParseLSN(lsn)
	return e, err
}

// Events returns the newest events that pass the filter, newest first, without their bodies.
func (s *Store) Events(ctx context.Context, f EventFilter, limit int) ([]Event, error) {
	return s.events(ctx, `SELECT `+eventColumns+` FROM event e WHERE `+eventFilter+` ORDER BY e.id DESC LIMIT $8`, append(f.parameters(), limit)...)
}

// EventsAfter returns events after an event id that pass the filter, oldest first, without their bodies.
func (s *Store) EventsAfter(ctx context.Context, f EventFilter, after int64, limit int) ([]Event, error) {
	return s.events(ctx, `SELECT `+eventColumns+` FROM event e WHERE e.id > $8 AND `+eventFilter+` ORDER BY e.id LIMIT $9`,
		append(f.parameters(), after, limit)...)
}

func (s *Store) events(ctx context.Context, sql string, arguments ...any) ([]Event, error) {
	rows, err := s.pool.Query(ctx, sql, arguments...)
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	events, err := pgx.CollectRows(rows, scanEvent)
	if err != nil {
		return nil, fmt.Errorf("read the event log: %w", err)
	}
	return events, nil
}

// Event returns the event with the filter's ID or WebhookID, without its body; nil if there is none.
func (s *Store) Event(ctx context.Context, f EventFilter) (*Event, error) {
	events, err := s.Events(ctx, EventFilter{ID: f.ID, WebhookID: f.WebhookID}, 1)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return &events[0], nil
}

// Body returns an event's body, or nil. It may contain personal data: show it only on request.
func (s *Store) Body(ctx context.Context, event int64) ([]byte, error) {
	var body []byte
	err := s.pool.QueryRow(ctx, `SELECT body FROM event WHERE id = $1`, event).Scan(&body)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the body of event %d: %w", event, err)
	}
	return body, nil
}

// FirstEventSince returns an event id before which no event was committed since the given time. For the zero time, that is the oldest event.
// It returns 0 if there is none.
func (s *Store) FirstEventSince(ctx context.Context, since time.Time) (int64, error) {
	var id int64
	err := s.pool.QueryRow(ctx, `SELECT coalesce(min(id), 0) FROM event WHERE $1::timestamptz IS NULL OR `+storedSince+`$1)::date`, timeOrNull(since)).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("read the event log: %w", err)
	}
	return id, nil
}

// WebhookRef identifies a webhook to commands. Only parts of the URL are secret.
type WebhookRef struct {
	ID                        int64
	Origin, Key, Name, Tenant string
	URL                       string
	Options                   string // JSON
	Enabled, Removed          bool
}

// Label returns the webhook's name, or its key if it has none.
func (w *WebhookRef) Label() string {
	if w.Name != "" {
		return w.Name
	}
	return w.Key
}

// WebhookRefs returns all webhooks in the order of their ids.
func (s *Store) WebhookRefs(ctx context.Context) ([]WebhookRef, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, origin, key, name, tenant, url, options, enabled, removed_after IS NOT NULL FROM webhook ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	refs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[WebhookRef])
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	return refs, nil
}
