package outbox

import (
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Event is one entry of the log.
type Event struct {
	// ID is the place in the log: 1, 2, 3 … in commit order.
	ID int64
	// WebhookID is the id that receivers see and deduplicate by. It depends only on the source transaction.
	WebhookID string
	Name      string
	// Tenant is empty where it could not be resolved; Webhooks is then empty too.
	Tenant   string
	Resource string
	Occurred time.Time // the commit time in the IAM
	LSN      cdc.LSN
	Ordinal  int
	// Body is sent and signed byte for byte. It is nil, and null in the store, where it would be larger than outbox.max_body.
	Body []byte
	// Length is that of the body where it was not read because it is too large to be sent.
	Length int64
	// Reconciled: a comparison has found it, the log did not tell.
	Reconciled bool
	// Webhooks are those subscribed as of the event's transaction.
	Webhooks []int64
}

// Chunk is what one outbox commit, or a part of a large one, writes.
type Chunk struct {
	// Mark is stored with the position, unless it is nil.
	Mark *cdc.Mark

	Events   []Event
	Webhooks []Webhook
	Hold     []Held
	// Cancel drops held events; Unhold those that are among Events now.
	Cancel []Cancellation
	Unhold []Held
	// Cancelled is how many Cancel has dropped, once the chunk is written.
	Cancelled int
	// Notices that the chunk's events were made of.
	Notices []int64
	// Bytes is about what the chunk takes to be written. Everything that is added by a method is counted.
	Bytes int

	upsertTables, upsertKeys, upsertRows []string
	upsertOwners                         []*string
	deleteTables, deleteKeys             []string
	buffer                               []byte

	former formerRows
}

// Add adds an event.
func (c *Chunk) Add(e Event) {
	c.Events = append(c.Events, e)
	c.Bytes += e.bytes()
}

// AddHeld adds an event that is held.
func (c *Chunk) AddHeld(h Held) {
	c.Hold = append(c.Hold, h)
	c.Bytes += h.bytes()
}

// AddWebhooks adds subscriptions that have changed.
func (c *Chunk) AddWebhooks(webhooks []Webhook) {
	c.Webhooks = append(c.Webhooks, webhooks...)
	for i := range webhooks {
		c.Bytes += webhooks[i].bytes()
	}
}

// bytes is about what the event takes in a statement.
func (e *Event) bytes() int {
	return 200 + len(e.Body) + len(e.Resource) + len(e.Tenant) + 12*len(e.Webhooks)
}

// upsert adds a mirror row.
func (c *Chunk) upsert(table *cdc.Table, key cdc.Key, row cdc.Row, owners map[*cdc.Table]int, k *keys) {
	stored := storedKey(key)
	c.buffer = appendRow(c.buffer[:0], table, stored, row, k)
	c.upsertTables = append(c.upsertTables, table.Name)
	c.upsertKeys = append(c.upsertKeys, stored)
	c.upsertRows = append(c.upsertRows, string(c.buffer))
	c.Bytes += 100 + len(stored) + len(c.buffer)
	var owner *string
	if by, ok := owners[table]; ok && row[by].Kind == cdc.Text {
		text := indexed(row[by].Text)
		owner = &text
	}
	c.upsertOwners = append(c.upsertOwners, owner)
}

// Delete removes a mirror row.
func (c *Chunk) Delete(table *cdc.Table, key cdc.Key) {
	c.deleteTables = append(c.deleteTables, table.Name)
	c.deleteKeys = append(c.deleteKeys, storedKey(key))
	c.Bytes += 100 + len(key)
}

func (c *Chunk) queue(batch *pgx.Batch, s *Store) {
	if len(c.Webhooks) > 0 {
		queueWebhooks(batch, c.Webhooks, s.keys)
	}
	c.queueAhead(batch, s.ServerTime(time.Now()))
	eachPiece(len(c.Events), func(i int) int { return c.Events[i].bytes() }, func(from, to int) { queueEvents(batch, c.Events[from:to]) })
	eachPiece(len(c.deleteKeys), func(i int) int { return len(c.deleteKeys[i]) }, func(from, to int) {
		batch.Queue(`DELETE FROM mirror m USING unnest($1::text[], $2::text[]) AS w(table_name, key)
			WHERE m.table_name = w.table_name COLLATE "C" AND m.key = w.key COLLATE "C"`, c.deleteTables[from:to], c.deleteKeys[from:to])
	})
	eachPiece(len(c.upsertKeys), func(i int) int { return len(c.upsertKeys[i]) + len(c.upsertRows[i]) }, func(from, to int) {
		batch.Queue(`INSERT INTO mirror (table_name, key, parent, fields) SELECT table_name, key, parent, fields::json
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(table_name, key, parent, fields)
			ON CONFLICT (table_name, key) DO UPDATE SET parent = excluded.parent, fields = excluded.fields`,
			c.upsertTables[from:to], c.upsertKeys[from:to], c.upsertOwners[from:to], c.upsertRows[from:to])
	})
	c.former.queue(batch)
	c.queueHeld(batch)
	if len(c.Notices) > 0 {
		batch.Queue(`DELETE FROM operational_event WHERE id = ANY ($1)`, c.Notices)
	}
}

// pieceBytes bounds the arrays of one statement, but for one element that is larger: the server refuses a message of a gibibyte,
// and holds several times what it takes.
const pieceBytes = 4 << 20

// eachPiece divides n elements into pieces whose sizes add up to at most pieceBytes.
func eachPiece(n int, size func(i int) int, each func(from, to int)) {
	from, bytes := 0, 0
	for i := range n {
		more := size(i)
		if i > from && bytes+more > pieceBytes {
			each(from, i)
			from, bytes = i, 0
		}
		bytes += more
	}
	if from < n {
		each(from, n)
	}
}

// clockSlack is by how much commit times may be ahead of the outbox server's clock without searches by them having to know.
const clockSlack = time.Hour

// queueAhead notes by how much the newest commit time is ahead of the server's clock, where that is more than before.
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

// storedSince begins a condition on the day of an event whose commit time is not before a parameter, which follows. The day is that at
// the outbox's server when the event was stored: it may be as much earlier as the source's clock was ahead of that, and a day for
// clockSlack and time zones.
const storedSince = `day >= (-(SELECT clock_ahead FROM position) - interval '1 day' + `

// queueEvents appends to the log with one statement. The ragged webhook lists travel as array literals.
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
