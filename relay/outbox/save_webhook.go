package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// givenAway is the DisabledReason of a removed webhook that was moved to another tenant.
const givenAway = "given to another tenant"

// End removes a webhook after the given event. Events up to it are still delivered.
func (w *Webhook) End(after int64) {
	if w.RemovedAfter == nil {
		w.RemovedAfter = &after
	}
}

// MoveAway ends a webhook that moves to another tenant. Its undelivered events are dropped.
func (w *Webhook) MoveAway(after int64) {
	w.End(after)
	w.Enabled, w.DisabledReason = false, givenAway
}

// MovedAway reports whether the webhook was ended by MoveAway.
func (w *Webhook) MovedAway() bool { return w.RemovedAfter != nil && w.DisabledReason == givenAway }

// SaveWebhooks stores webhooks that changed other than by an ingested transaction.
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

// savePage is the largest number of webhooks in a statement.
const savePage = 500

// queueWebhooks stores definitions of webhooks; of a webhook that occurs several times, the last one. The rows keep their delivery state, and
// whether they were disabled by command. Rows are locked in the order of their ids, like everywhere; a successor has a higher id than the
// webhook it replaces.
func queueWebhooks(batch *pgx.Batch, webhooks []Webhook, k *keys) {
	last := map[int64]*Webhook{}
	for i := range webhooks {
		last[webhooks[i].ID] = &webhooks[i]
	}
	for page := range slices.Chunk(slices.Sorted(maps.Keys(last)), savePage) {
		some := make([]*Webhook, len(page))
		for i, id := range page {
			some[i] = last[id]
		}
		eachPiece(len(some), func(i int) int { return some[i].bytes() }, func(from, to int) { queueWebhookPage(batch, some[from:to], k) })
	}
}

// bytes estimates the size of the webhook's definition in a statement.
func (w *Webhook) bytes() int {
	n := 500 + len(w.Key) + len(w.Tenant) + len(w.Name) + len(w.Description) + len(w.URL) + len(w.Options) + len(w.Credentials)
	for name, value := range w.Headers {
		n += len(name) + len(value)
	}
	for _, texts := range [][]string{w.TenantKeys, w.Secrets, w.Events} {
		for _, text := range texts {
			n += 3 + len(text)
		}
	}
	return n
}

// webhookRecord is a webhook's definition as saveWebhooks reads it.
type webhookRecord struct {
	ID             int64           `json:"id"`
	Origin         string          `json:"origin"`
	Key            string          `json:"key"`
	Tenant         string          `json:"tenant"`
	TenantKeys     []string        `json:"tenant_keys"`
	Name           string          `json:"name"`
	Description    string          `json:"description"`
	URL            string          `json:"url"`
	Headers        json.RawMessage `json:"headers"`
	Secrets        []string        `json:"secrets"`
	Events         []string        `json:"events"`
	Enabled        bool            `json:"enabled"`
	DisabledReason string          `json:"disabled_reason"`
	RemovedAfter   *int64          `json:"removed_after"`
	Options        string          `json:"options"`
	Credentials    string          `json:"credentials"`
	Exclusive      bool            `json:"exclusive"`
}

const saveWebhooks = `INSERT INTO webhook AS w (id, origin, key, tenant, tenant_keys, name, description, url, headers, secrets, events, enabled,
		disabled_reason, removed_after, options, credentials, exclusive)
	SELECT id, origin, key, tenant, tenant_keys, name, description, url, headers, secrets, events, enabled, disabled_reason, removed_after, options,
		credentials, exclusive
	FROM json_to_recordset($1::text::json) AS r(id bigint, origin text, key text, tenant text, tenant_keys text[], name text, description text,
		url text, headers json, secrets text[], events text[], enabled boolean, disabled_reason text, removed_after bigint, options text,
		credentials text, exclusive boolean)
	ORDER BY id
	ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, tenant_keys = excluded.tenant_keys, name = excluded.name,
		description = excluded.description, url = excluded.url, headers = excluded.headers, secrets = excluded.secrets, events = excluded.events,
		options = excluded.options, credentials = excluded.credentials, exclusive = excluded.exclusive,
		removed_after = excluded.removed_after, changed = now(), version = nextval('webhook_version'),
		-- A removed webhook stays enabled or disabled, unless it moves to another tenant.
		enabled = CASE WHEN excluded.removed_after IS NOT NULL THEN w.enabled AND excluded.disabled_reason <> '` + givenAway + `'
			WHEN starts_with(w.disabled_reason, '` + manually + `') THEN false
			ELSE excluded.enabled OR excluded.disabled_reason <> '' END,
		disabled_reason = CASE WHEN excluded.removed_after IS NOT NULL AND excluded.disabled_reason = '` + givenAway + `' THEN excluded.disabled_reason
			WHEN excluded.removed_after IS NOT NULL
				OR starts_with(w.disabled_reason, '` + manually + `') AND (excluded.enabled OR excluded.disabled_reason <> '') THEN w.disabled_reason
			ELSE '' END`

func queueWebhookPage(batch *pgx.Batch, webhooks []*Webhook, k *keys) {
	records := make([]webhookRecord, 0, len(webhooks))
	for _, plain := range webhooks {
		if plain.Origin == OriginRelay { // its row is the definition; ingestion only adds the tenant's keys
			batch.Queue(`UPDATE webhook SET tenant_keys = $2, version = nextval('webhook_version') WHERE id = $1`, plain.ID, orEmpty(plain.TenantKeys))
			continue
		}
		w := k.encryptedWebhook(plain)
		records = append(records, webhookRecord{
			ID: w.ID, Origin: w.Origin, Key: w.Key, Tenant: w.Tenant, TenantKeys: orEmpty(w.TenantKeys), Name: w.Name, Description: w.Description,
			URL: w.URL, Headers: json.RawMessage(headersJSON(&w)), Secrets: orEmpty(w.Secrets), Events: orEmpty(w.Events), Enabled: w.Enabled,
			DisabledReason: w.DisabledReason, RemovedAfter: w.RemovedAfter, Options: cmp.Or(w.Options, "{}"), Credentials: w.Credentials,
			Exclusive: w.Exclusive,
		})
	}
	if len(records) == 0 {
		return
	}
	text, err := json.Marshal(records)
	if err != nil { // strings, numbers and JSON that was just made always marshal
		panic(err)
	}
	batch.Queue(saveWebhooks, string(text))
}
