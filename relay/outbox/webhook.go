package outbox

import (
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
	// TenantKeys are the keys of the tenants that have the name which Tenant is; empty while none is known, or Tenant is no name.
	TenantKeys []string
	// Version grows with each change that other relays must learn of.
	Version int64
	// Resumed is how often its failures were forgiven on request.
	Resumed int
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
	w.events, w.enabled, w.cursor, w.disabled_reason, w.removed_after, w.options, w.credentials, w.exclusive, w.handshake, w.tenant_keys, w.version, w.resume_count, coalesce(w.lease, 0),
	w.created, w.changed, coalesce(w.paused_until, '0001-01-01Z'), w.pauses, coalesce(w.failing_since, '0001-01-01Z'), w.failing_spans,
	coalesce(w.failed_at, '0001-01-01Z')`

// scanWebhook reads a webhook and opens what is sealed of it.
func (s *Store) scanWebhook(row pgx.CollectableRow) (Webhook, error) {
	w, err := scanStored(row)
	if err != nil {
		return w, err
	}
	return s.keys.decryptedWebhook(&w)
}

func scanStored(row pgx.CollectableRow) (Webhook, error) {
	var w Webhook
	var headers string
	var created, expire []*time.Time
	err := row.Scan(&w.ID, &w.Origin, &w.Key, &w.Tenant, &w.Name, &w.Description, &w.URL, &headers, &w.Secrets, &created, &expire, &w.Events,
		&w.Enabled, &w.Cursor, &w.DisabledFor, &w.RemovedAfter, &w.Options, &w.Credentials, &w.Exclusive, &w.Agreed, &w.TenantKeys, &w.Version, &w.Resumed, &w.Lease,
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
			DELETE FROM webhook w USING watermark
			WHERE w.removed_after <= watermark.delivered
				-- One that was disabled keeps its place, which nobody serves any more.
				AND (w.cursor IS NULL OR NOT w.enabled AND NOT EXISTS (SELECT FROM member m WHERE m.id = w.lease))
				AND (w.origin = 'relay' OR w.id < (SELECT max(id) FROM webhook WHERE origin <> 'relay'))
				AND (NOT w.enabled OR NOT EXISTS (SELECT FROM retry p WHERE p.webhook = w.id AND p.due < 'infinity')
					AND NOT EXISTS (SELECT FROM delayed_event h WHERE w.id = ANY (h.webhooks)))
			RETURNING w.id
		), theirs AS (
			DELETE FROM retry p USING gone WHERE p.webhook = gone.id
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
