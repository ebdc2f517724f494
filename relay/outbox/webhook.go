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
	OriginRelay  = "relay"  // created with iam-relay webhooks; numbered by a separate sequence
)

// FirstRelayID is the first id of a webhook of OriginRelay. The leader assigns lower ids.
const FirstRelayID = 1 << 32

// Webhook is a subscription of any origin.
type Webhook struct {
	ID     int64
	Origin string
	// Key identifies it within its origin: the IAM's row key, or the configured name.
	Key string
	// Tenant is the key of the tenant whose events it receives, or "*". Unless the origin is the IAM, it may also be the tenant's name.
	Tenant      string
	Name        string
	Description string
	URL         string
	Headers     map[string]string
	// Secrets sign deliveries, all that have not expired: see ValidSecrets. Without secrets, deliveries are unsigned.
	Secrets []string
	// SecretsCreated and SecretsExpire correspond to Secrets, and may be shorter. The zero time means unknown, and never.
	SecretsCreated, SecretsExpire []time.Time
	Events                        []string
	Enabled                       bool
	// Cursor is set while the webhook catches up: the last event that is done.
	Cursor *int64
	// DisabledReason is why the webhook is disabled, for example that the endpoint answered 410 Gone, or the reason that an operator gave
	// (see ManualReason). It is empty if the definition disables it.
	DisabledReason string
	// RemovedAfter is set once the webhook is removed: events up to it are still delivered.
	RemovedAfter *int64
	// Options (JSON) are the delivery options, and Credentials (JSON, or empty) their secret part.
	Options, Credentials string
	// Exclusive: only the relay that serves the webhook sends its retries, to keep its order or rate.
	Exclusive bool
	// Handshake is what the endpoint accepted in the validation handshake: the hash of its URL, and a rate.
	Handshake string
	// TenantKeys are the keys of the tenants whose name is Tenant; empty if none is known, or Tenant is not a name.
	TenantKeys []string
	// Version increases with every change that other relays must notice.
	Version int64
	// ResumeCount counts resets of Health by command.
	ResumeCount int
	// Lease is the member that serves the webhook while it has a Cursor; 0 for none.
	Lease int64
	// Created is when it was first stored, Changed when its definition, or its state by command, last changed.
	Created, Changed time.Time
	Health
}

// Health is the stored state of an endpoint's circuit breaker.
type Health struct {
	PausedUntil  time.Time // zero if it is not paused
	Pauses       int       // in a row, without a success in between
	FailingSince time.Time // zero if the last attempt succeeded
	FailingSpans int       // periods with a failure since then
	FailedAt     time.Time // start of the last of them
}

// webhookColumns are the columns that scanWebhook reads.
const webhookColumns = `w.id, w.origin, w.key, w.tenant, w.name, w.description, w.url, w.headers::text, w.secrets, w.secrets_created, w.secrets_expire,
	w.events, w.enabled, w.cursor, w.disabled_reason, w.removed_after, w.options, w.credentials, w.exclusive, w.handshake, w.tenant_keys, w.version, w.resume_count, coalesce(w.lease, 0),
	w.created, w.changed, coalesce(w.paused_until, '0001-01-01Z'), w.pauses, coalesce(w.failing_since, '0001-01-01Z'), w.failing_spans,
	coalesce(w.failed_at, '0001-01-01Z')`

// scanWebhook reads and decrypts a webhook.
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
		&w.Enabled, &w.Cursor, &w.DisabledReason, &w.RemovedAfter, &w.Options, &w.Credentials, &w.Exclusive, &w.Handshake, &w.TenantKeys, &w.Version, &w.ResumeCount, &w.Lease,
		&w.Created, &w.Changed, &w.PausedUntil, &w.Pauses, &w.FailingSince, &w.FailingSpans, &w.FailedAt)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal([]byte(headers), &w.Headers); err != nil {
		return w, fmt.Errorf("headers of webhook %d: %w", w.ID, err)
	}
	w.SecretsCreated, w.SecretsExpire = orZero(created), orZero(expire)
	return w, nil
}

// LoadWebhooks returns all webhooks in the order of their ids.
func (s *Store) LoadWebhooks(ctx context.Context) ([]Webhook, error) {
	return s.loadWebhooks(ctx, `SELECT `+webhookColumns+` FROM webhook w ORDER BY id`)
}

// LoadWebhooksByID returns the webhooks with the given ids.
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

// orEmpty returns an empty slice for nil, which would be stored as NULL.
func orEmpty(texts []string) []string {
	if texts == nil {
		return []string{}
	}
	return texts
}

// ForgetWebhooks deletes removed webhooks that have nothing left to deliver, with their dead deliveries, and returns their ids. It keeps the
// newest webhook that the leader numbered, because its id would be assigned again, and delayed events may still refer to it.
func (l *Leader) ForgetWebhooks(ctx context.Context) ([]int64, error) {
	rows, err := l.store.pool.Query(ctx, `WITH gone AS (
			DELETE FROM webhook w USING watermark
			WHERE w.removed_after <= watermark.delivered
				-- A disabled webhook keeps its cursor, which no relay advances.
				AND (w.cursor IS NULL OR NOT w.enabled AND NOT EXISTS (SELECT FROM member m WHERE m.id = w.lease))
				AND (w.origin = 'relay' OR w.id < (SELECT max(id) FROM webhook WHERE origin <> 'relay'))
				AND (NOT w.enabled OR NOT EXISTS (SELECT FROM retry p WHERE p.webhook = w.id AND p.due < 'infinity')
					AND NOT EXISTS (SELECT FROM delayed_event h WHERE w.id = ANY (h.webhooks)))
			RETURNING w.id
		), theirs AS (
			DELETE FROM retry p USING gone WHERE p.webhook = gone.id
		) SELECT id FROM gone`)
	if err != nil {
		return nil, fmt.Errorf("delete removed webhooks: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("delete removed webhooks: %w", err)
	}
	return ids, nil
}
