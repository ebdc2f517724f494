package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Origins of a webhook.
const (
	OriginIAM    = "iam"    // the IAM's own webhook tables
	OriginConfig = "config" // [[webhook]] in the configuration file
	OriginRelay  = "relay"  // made with iam-relay webhooks; numbered by a sequence of their own
)

// FirstRelayID is the first number of the webhooks of OriginRelay; the leader's own counter stays below.
const FirstRelayID = 1 << 32

// Webhook is one subscription, whatever its origin.
type Webhook struct {
	ID     int64
	Origin string
	// Key identifies it within its origin: the IAM's row key, or the configured name.
	Key string
	// Tenant is the key of the tenant whose events it gets, or "*"; for one that is not the IAM's it may also be the tenant's name.
	Tenant      string
	Name        string
	Description string
	URL         string
	Headers     map[string]string
	// Secrets all sign what is sent, unless they have expired: see ValidSecrets. Without one it is sent unsigned.
	Secrets []string
	// SecretsCreated and SecretsExpire go with Secrets; the zero time is unknown, and never. They may be shorter.
	SecretsCreated, SecretsExpire []time.Time
	Events                        []string
	Enabled                       bool
	// Cursor is set while the webhook reads the log by itself: the last event that it is done with.
	Cursor *int64
	// DisabledFor says why delivering was stopped, for example that the endpoint answered 410 Gone, or by hand: see ByHand. It is
	// empty for one that its definition switches off.
	DisabledFor string
	// RemovedAfter is set once the subscription is gone: events up to it are still delivered.
	RemovedAfter *int64
	// Options say how it is delivered to, and Credentials what that needs; both in JSON, Credentials empty for none.
	Options, Credentials string
	// Exclusive: its parked deliveries are sent only by the relay that serves it.
	Exclusive bool
	// Agreed is the hash of the URL that has passed a handshake.
	Agreed string
	// Version grows with each change made from outside the leader's ingestion.
	Version int64
	// Lease is the member that serves it while it has a Cursor; 0 for none.
	Lease int64
	// Created is when it was first stored, Changed when its definition changed, or its state by hand.
	Created, Changed time.Time
	Health
}

// Health is how an endpoint has fared lately.
type Health struct {
	RestUntil    time.Time // zero: it does not rest
	Rests        int       // in a row, without a success between them
	FailingSince time.Time // zero: the last attempt succeeded
	FailingSpans int       // spans of time with a failure since then
	FailedAt     time.Time // the last failure that began a span
}

// webhookColumns are what scanWebhook reads.
const webhookColumns = `w.id, w.origin, w.key, w.tenant, w.name, w.description, w.url, w.headers::text, w.secrets, w.secrets_created, w.secrets_expire,
	w.events, w.enabled, w.cursor, w.disabled_for, w.removed_after, w.options, w.credentials, w.exclusive, w.agreed, w.version, coalesce(w.lease, 0),
	w.created, w.changed, coalesce(w.rest_until, '0001-01-01Z'), w.rests, coalesce(w.failing_since, '0001-01-01Z'), w.failing_spans,
	coalesce(w.failed_at, '0001-01-01Z')`

// scanWebhook reads a webhook and opens what is sealed of it.
func (s *Store) scanWebhook(row pgx.CollectableRow) (Webhook, error) {
	w, err := scanSealed(row)
	if err != nil {
		return w, err
	}
	return s.keys.opened(&w)
}

func scanSealed(row pgx.CollectableRow) (Webhook, error) {
	var w Webhook
	var headers string
	var created, expire []*time.Time
	err := row.Scan(&w.ID, &w.Origin, &w.Key, &w.Tenant, &w.Name, &w.Description, &w.URL, &headers, &w.Secrets, &created, &expire, &w.Events,
		&w.Enabled, &w.Cursor, &w.DisabledFor, &w.RemovedAfter, &w.Options, &w.Credentials, &w.Exclusive, &w.Agreed, &w.Version, &w.Lease,
		&w.Created, &w.Changed, &w.RestUntil, &w.Rests, &w.FailingSince, &w.FailingSpans, &w.FailedAt)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal([]byte(headers), &w.Headers); err != nil {
		return w, fmt.Errorf("headers of webhook %d: %w", w.ID, err)
	}
	w.SecretsCreated, w.SecretsExpire = orZero(created), orZero(expire)
	return w, nil
}

// LoadWebhooks reads the subscriptions that still have something to deliver, in the order of their ids.
func (s *Store) LoadWebhooks(ctx context.Context) ([]Webhook, error) {
	return s.loadWebhooks(ctx, `SELECT `+webhookColumns+` FROM webhook w ORDER BY id`)
}

// LoadWebhooksByID reads some of them.
func (s *Store) LoadWebhooksByID(ctx context.Context, ids []int64) ([]Webhook, error) {
	return s.loadWebhooks(ctx, `SELECT `+webhookColumns+` FROM webhook w WHERE id = ANY ($1) ORDER BY id`, ids)
}

// ChangedWebhooks reads those that were changed by hand, or by another relay, after the given version, in the order of the
// versions.
func (s *Store) ChangedWebhooks(ctx context.Context, since int64) ([]Webhook, error) {
	return s.loadWebhooks(ctx, `SELECT `+webhookColumns+` FROM webhook w WHERE version > $1 ORDER BY version`, since)
}

func (s *Store) loadWebhooks(ctx context.Context, sql string, args ...any) ([]Webhook, error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	webhooks, err := pgx.CollectRows(rows, s.scanWebhook)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	return webhooks, nil
}

// SaveWebhooks stores subscriptions that changed outside the IAM's log, fenced like every other write.
func (l *Leader) SaveWebhooks(ctx context.Context, webhooks []Webhook) error {
	if len(webhooks) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	queueWebhooks(batch, webhooks, l.store.keys)
	l.queueFence(batch)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store webhooks: %w", fenced(err))
	}
	return nil
}

// queueWebhooks writes what defines a subscription. Its cursor belongs to delivery and stays as it is. So does whether it was
// stopped by hand: the row knows it, the ingest that writes may not know it yet.
func queueWebhooks(batch *pgx.Batch, webhooks []Webhook, k *keys) {
	// In the order of their ids, as everybody does who changes several; of one, its own changes stay in theirs.
	webhooks = slices.Clone(webhooks)
	slices.SortStableFunc(webhooks, func(a, b Webhook) int { return cmp.Compare(a.ID, b.ID) })
	for i := range webhooks {
		if webhooks[i].Origin == OriginRelay {
			continue // defined by its row alone
		}
		w := k.sealed(&webhooks[i])
		batch.Queue(`INSERT INTO webhook AS w (id, origin, key, tenant, name, description, url, headers, secrets, events, enabled, disabled_for, removed_after,
				options, credentials, exclusive)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10, $11, $12, $13, $14, $15, $16)
			ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, description = excluded.description, url = excluded.url,
				headers = excluded.headers, secrets = excluded.secrets, events = excluded.events,
				options = excluded.options, credentials = excluded.credentials, exclusive = excluded.exclusive,
				removed_after = excluded.removed_after, changed = now(), version = nextval('webhook_version'),
				-- What is owed to a removed one is delivered, or not, as before.
				enabled = CASE WHEN excluded.removed_after IS NOT NULL THEN w.enabled
					WHEN starts_with(w.disabled_for, '`+byHand+`') THEN false
					ELSE excluded.enabled OR excluded.disabled_for <> '' END,
				disabled_for = CASE WHEN excluded.removed_after IS NOT NULL
						OR starts_with(w.disabled_for, '`+byHand+`') AND (excluded.enabled OR excluded.disabled_for <> '') THEN w.disabled_for
					ELSE '' END`,
			w.ID, w.Origin, w.Key, w.Tenant, w.Name, w.Description, w.URL, headersJSON(&w), orEmpty(w.Secrets), orEmpty(w.Events),
			w.Enabled, w.DisabledFor, w.RemovedAfter, cmp.Or(w.Options, "{}"), w.Credentials, w.Exclusive)
	}
}

func headersJSON(w *Webhook) string {
	if w.Headers == nil {
		return "{}"
	}
	headers, err := json.Marshal(w.Headers)
	if err != nil { // a map of strings always marshals
		panic(err)
	}
	return string(headers)
}

// orEmpty keeps a null out of a column that has none.
func orEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

// ForgetWebhooks deletes removed subscriptions that have nothing left to deliver, with what was given up of theirs. It
// returns their ids. The newest subscription that the leader has numbered stays whatever it is, so that its id is not given to
// another, which would get what is still held for it.
func (l *Leader) ForgetWebhooks(ctx context.Context) ([]int64, error) {
	rows, err := l.store.pool.Query(ctx, `WITH gone AS (
			DELETE FROM webhook w USING progress
			WHERE w.removed_after <= progress.delivered
				-- One that was disabled keeps its place, which nobody serves any more.
				AND (w.cursor IS NULL OR NOT w.enabled AND NOT EXISTS (SELECT FROM member m WHERE m.id = w.lease))
				AND (w.origin = 'relay' OR w.id < (SELECT max(id) FROM webhook WHERE origin <> 'relay'))
				AND (NOT w.enabled OR NOT EXISTS (SELECT FROM parked p WHERE p.webhook = w.id AND p.due < 'infinity')
					AND NOT EXISTS (SELECT FROM held h WHERE w.id = ANY (h.webhooks)))
			RETURNING w.id
		), theirs AS (
			DELETE FROM parked p USING gone WHERE p.webhook = gone.id
		) SELECT id FROM gone`)
	if err != nil {
		return nil, fmt.Errorf("forget removed webhooks: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("forget removed webhooks: %w", err)
	}
	return ids, nil
}
