package outbox

import (
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Event is an entry of the event log.
type Event struct {
	// ID is 1, 2, 3 … in commit order.
	ID int64
	// WebhookID is the value of the webhook-id header, by which receivers deduplicate. It depends only on the source transaction.
	WebhookID string
	Name      string
	// Tenant is the tenant's key. If it could not be resolved, it is empty, and so is Webhooks.
	Tenant   string
	Resource string
	Occurred time.Time // commit time in the IAM
	LSN      cdc.LSN
	Ordinal  int // within the transaction
	// Body is sent and signed byte for byte. It is nil if it is larger than outbox.max_body.
	Body []byte
	// Length is that of the body if it was not read because it is too large to send.
	Length int64
	// Reconciled: the event was found by a reconciliation, not read from the WAL.
	Reconciled bool
	// Webhooks are the subscribers as of the transaction.
	Webhooks []int64
}

// bytes estimates the size of the event in a statement.
func (e *Event) bytes() int {
	return 200 + len(e.Body) + len(e.Resource) + len(e.Tenant) + 12*len(e.Webhooks)
}

// clockSlack is how far commit times may be ahead of the outbox server's clock without an effect on searches.
const clockSlack = time.Hour

// queueAhead stores how far the newest commit time is ahead of the server's clock, if that is a new maximum.
func (c *Chunk) queueAhead(batch *pgx.Batch, now time.Time) {
	var newest time.Time
	for i := range c.Events {
		if c.Events[i].Occurred.After(newest) {
			newest = c.Events[i].Occurred
		}
	}
	if newest.Sub(now) > clockSlack {
		batch.Queue(`UPDATE position SET clock_ahead = $1::timestamptz - now() WHERE clock_ahead < $1::timestamptz - now()`, newest)
	}
}

// storedSince begins a condition on the day of events whose commit time is not before a parameter, which follows. The day is the outbox
// server's when the event was stored. It may be earlier than the commit time by position.clock_ahead, and by a day for clockSlack and time
// zones.
const storedSince = `day >= (-(SELECT clock_ahead FROM position) - interval '1 day' + `

// queueEvents appends events with one statement. unnest flattens nested arrays, so the lists of webhooks are passed as array literals.
func queueEvents(batch *pgx.Batch, events []Event) {
	n := len(events)
	ids, ordinals := make([]int64, n), make([]int32, n)
	webhookIDs, names, tenants := make([]string, n), make([]string, n), make([]string, n)
	resources, lsns, webhooks := make([]string, n), make([]string, n), make([]string, n)
	occurred, bodies, reconciled := make([]time.Time, n), make([][]byte, n), make([]bool, n)
	for i := range events {
		e := &events[i]
		ids[i], ordinals[i], webhookIDs[i], names[i], tenants[i] = e.ID, int32(e.Ordinal), e.WebhookID, e.Name, e.Tenant
		resources[i], lsns[i], occurred[i], bodies[i] = e.Resource, e.LSN.String(), e.Occurred, e.Body
		webhooks[i], reconciled[i] = arrayLiteral(e.Webhooks), e.Reconciled
	}
	batch.Queue(`INSERT INTO event (id, day, webhook_id, name, tenant, resource, occurred, lsn, ordinal, body, webhooks, reconciled)
		SELECT id, `+today+`, webhook_id, name, nullif(tenant, ''), resource, occurred, lsn::pg_lsn, ordinal, body, webhooks::bigint[], reconciled
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::int[], $9::bytea[], $10::text[], $11::bool[])
		AS w(id, webhook_id, name, tenant, resource, occurred, lsn, ordinal, body, webhooks, reconciled)`,
		ids, webhookIDs, names, tenants, resources, occurred, lsns, ordinals, bodies, webhooks, reconciled)
}

func arrayLiteral(ids []int64) string {
	b := []byte{'{'}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, '}'))
}
