package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
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
const webhookColumns = `id, origin, key, tenant, name, description, url, headers::text, secrets, secrets_created, secrets_expire, events, enabled,
	cursor, disabled_for, removed_after, options, credentials, exclusive, agreed, version, coalesce(lease, 0), created, changed,
	coalesce(rest_until, '0001-01-01Z'), rests, coalesce(failing_since, '0001-01-01Z'), failing_spans, coalesce(failed_at, '0001-01-01Z')`

// LoadWebhooks reads the subscriptions that still have something to deliver, in the order of their ids.
func (s *Store) LoadWebhooks(ctx context.Context) ([]Webhook, error) {
	return s.collectWebhooks(s.pool.Query(ctx, `SELECT `+webhookColumns+` FROM webhook ORDER BY id`))
}

// ChangedWebhooks reads the subscriptions that were changed from outside the leader's ingestion after a version, and the
// version that this brings the reader to.
func (s *Store) ChangedWebhooks(ctx context.Context, since int64) ([]Webhook, int64, error) {
	webhooks, err := s.collectWebhooks(s.pool.Query(ctx, `SELECT `+webhookColumns+` FROM webhook WHERE version > $1 ORDER BY id`, since))
	for i := range webhooks {
		since = max(since, webhooks[i].Version)
	}
	return webhooks, since, err
}

// collectWebhooks reads the answer to a query of webhookColumns.
func (s *Store) collectWebhooks(rows pgx.Rows, err error) ([]Webhook, error) {
	webhooks, err := scanWebhooks(rows, err)
	for i := range webhooks {
		if webhooks[i], err = s.keys.opened(&webhooks[i]); err != nil {
			return nil, err
		}
	}
	return webhooks, err
}

// scanWebhooks leaves them sealed.
func scanWebhooks(rows pgx.Rows, err error) ([]Webhook, error) {
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	webhooks, err := pgx.CollectRows(rows, scanWebhook)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	return webhooks, nil
}

func scanWebhook(row pgx.CollectableRow) (Webhook, error) {
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

// SaveWebhooks stores subscriptions that changed outside the IAM's log, fenced like every other write.
func (l *Leader) SaveWebhooks(ctx context.Context, webhooks []Webhook) error {
	if len(webhooks) == 0 {
		return nil
	}
	batch := &pgx.Batch{}
	queueWebhooks(batch, webhooks, l.store.keys)
	batch.Queue(`SELECT advance(epoch, lsn, last_event) FROM (SELECT $1::bigint AS epoch, lsn, last_event FROM position) AS p`, l.epoch)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("store webhooks: %w", fenced(err))
	}
	return nil
}

// queueWebhooks writes what defines a subscription. Its cursor belongs to delivery and stays as it is. So does whether it was
// stopped by hand: the row knows it, the ingest that writes may not know it yet.
func queueWebhooks(batch *pgx.Batch, webhooks []Webhook, k *keys) {
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
				removed_after = excluded.removed_after, changed = now(),
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
// returns their ids.
func (l *Leader) ForgetWebhooks(ctx context.Context) ([]int64, error) {
	rows, err := l.store.pool.Query(ctx, `WITH gone AS (
			DELETE FROM webhook w USING progress
			WHERE w.removed_after <= progress.delivered AND w.cursor IS NULL
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
