package outbox

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Attempt is one try to deliver an event to a webhook.
type Attempt struct {
	Event, Webhook int64
	Number         int // from 1
	At             time.Time
	Duration       time.Duration
	Class          string
	Status         int    // HTTP status, 0 without an answer
	Response       string // the first bytes of a bad answer
	Error          string // why it failed, without anything secret
	Phases         Phases
}

// Phases is where the time of an attempt went; 0 for a phase that there was not.
type Phases struct{ DNS, Connect, TLS, FirstByte time.Duration }

// Parked is a delivery that failed on a working endpoint and has a time of its own.
type Parked struct {
	Event, Webhook int64
	Attempts       int
	Due            time.Time // the zero time: dead, never due again
	Class          string
	Status         int
	// Key is what it is ordered by; empty for no order.
	Key string
	// Again: it was parked before, and claimed by this member.
	Again bool
}

// DeliveryKey names one delivery.
type DeliveryKey struct{ Event, Webhook int64 }

// Place is how far a webhook that reads the log by itself has come. Live means that it has caught up and shares the common
// mark again; Free that this relay serves it no longer.
type Place struct {
	Cursor     int64
	Live, Free bool
}

// Notice is something that happened to a webhook or a delivery, and that webhooks may want to hear of.
type Notice struct {
	ID      int64
	At      time.Time
	Webhook int64
	Name    string
	Event   int64 // of a delivery; 0 for none
	Data    json.RawMessage
}

// Disabling says why the relay stops delivering to a webhook. It is void if the webhook is not the same version any more: its
// owner has changed it meanwhile.
type Disabling struct {
	Reason  string
	Version int64
}

// Delivery is a batch of what delivery has done, written in one transaction. Losing it in a crash repeats deliveries with
// the same ids, so it does not wait for the disk.
type Delivery struct {
	Attempts []Attempt
	Park     []Parked      // new or put off again
	Unpark   []DeliveryKey // delivered at last
	Unlease  []DeliveryKey // claimed, and given back as they were
	Places   map[int64]Place
	Health   map[int64]Health
	Resumed  map[int64]int       // of the webhooks in Health: what is measured before one was resumed is void
	Agreed   map[int64]string    // webhooks that have passed a handshake, with what they have agreed to
	Disable  map[int64]Disabling // webhooks that the relay stops delivering to
	Notices  []Notice
	// Delivered is the event up to which all webhooks without a place of their own are done. Only the leader knows.
	Delivered int64
}

// mayServe is true of a webhook that the member $1 serves: the leader, $2, those that are live, others what they have leased.
const mayServe = `(lease = $1 OR $2 AND cursor IS NULL)`

// Record writes a delivery batch; leader is nil unless this member leads. It returns the webhooks that the member no longer
// serves: what it knows of them is void.
func (m *Member) Record(ctx context.Context, leader *Leader, d *Delivery) ([]int64, error) {
	d.inServerTime(m.store)
	var lost []int64
	err := m.store.withPartitions(ctx, func() error {
		lost = nil
		return m.store.pool.SendBatch(ctx, m.recording(leader, d, &lost)).Close()
	})
	if err != nil {
		return nil, fmt.Errorf("record deliveries: %w", fenced(err))
	}
	return lost, nil
}

// inServerTime turns this machine's times into those of the outbox server.
func (d *Delivery) inServerTime(s *Store) {
	for i := range d.Attempts {
		d.Attempts[i].At = s.ServerTime(d.Attempts[i].At)
	}
	for id, h := range d.Health {
		h.RestUntil, h.FailingSince, h.FailedAt = s.ServerTime(h.RestUntil), s.ServerTime(h.FailingSince), s.ServerTime(h.FailedAt)
		d.Health[id] = h
	}
}

// recording are the statements of a batch, which are one transaction.
func (m *Member) recording(leader *Leader, d *Delivery, lost *[]int64) *pgx.Batch {
	batch := &pgx.Batch{}
	leads := leader != nil
	batch.Queue(`SELECT set_config('synchronous_commit', 'off', true)`)
	if leads {
		batch.Queue(`SELECT advance_watermark($1, $2)`, leader.epoch, d.Delivered)
	}
	d.queueAttempts(batch)
	d.queueParked(batch, m.id, leads)
	for _, id := range d.webhooks() {
		d.queueWebhook(batch, m.id, leads, id, lost)
	}
	for i := range d.Notices {
		n := &d.Notices[i]
		batch.Queue(`INSERT INTO operational_event (webhook, name, event, data) VALUES ($1, $2, nullif($3::bigint, 0), $4::text::json)`, n.Webhook, n.Name, n.Event, string(n.Data))
	}
	return batch
}

// webhooks are the ids of those that the batch changes, in the order in which everybody changes several.
func (d *Delivery) webhooks() []int64 {
	ids := map[int64]struct{}{}
	for id := range d.Places {
		ids[id] = struct{}{}
	}
	for id := range d.Health {
		ids[id] = struct{}{}
	}
	for id := range d.Agreed {
		ids[id] = struct{}{}
	}
	for id := range d.Disable {
		ids[id] = struct{}{}
	}
	return slices.Sorted(maps.Keys(ids))
}

// queueWebhook writes how one webhook stands; lost gets its id if the member does not serve it any more.
func (d *Delivery) queueWebhook(batch *pgx.Batch, member int64, leads bool, id int64, lost *[]int64) {
	if p, ok := d.Places[id]; ok {
		cursor, lease := &p.Cursor, &member
		if p.Live {
			cursor = nil
		}
		if p.Live || p.Free {
			lease = nil
		}
		batch.Queue(`UPDATE webhook SET cursor = $4, lease = $5 WHERE id = $3 AND `+mayServe, member, leads, id, cursor, lease).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				*lost = append(*lost, id)
			}
			return nil
		})
	}
	if h, ok := d.Health[id]; ok {
		batch.Queue(`UPDATE webhook SET paused_until = $2, pauses = $3, failing_since = $4, failing_spans = $5, failed_at = $6
			WHERE id = $1 AND resume_count <= $7`,
			id, timeOrNull(h.RestUntil), h.Rests, timeOrNull(h.FailingSince), h.FailingSpans, timeOrNull(h.FailedAt), d.Resumed[id])
	}
	if to, ok := d.Agreed[id]; ok {
		batch.Queue(`UPDATE webhook SET handshake = $2, version = nextval('webhook_version') WHERE id = $1`, id, to)
	}
	if stop, ok := d.Disable[id]; ok {
		batch.Queue(`UPDATE webhook SET enabled = false, disabled_reason = $2, version = nextval('webhook_version')
			WHERE id = $1 AND enabled AND version = $3`, id, stop.Reason, stop.Version)
	}
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (d *Delivery) queueAttempts(batch *pgx.Batch) {
	size := func(i int) int {
		return 100 + len(d.Attempts[i].Class) + len(d.Attempts[i].Response) + len(d.Attempts[i].Error)
	}
	eachPiece(len(d.Attempts), size, func(from, to int) { queueAttempts(batch, d.Attempts[from:to]) })
}

func queueAttempts(batch *pgx.Batch, attempts []Attempt) {
	n := len(attempts)
	events, webhooks, micros := make([]int64, n), make([]int64, n), make([]int64, n)
	numbers, statuses := make([]int32, n), make([]int32, n)
	at, classes, responses, errs := make([]time.Time, n), make([]string, n), make([]*string, n), make([]*string, n)
	dns, connect, tls, first := make([]*int32, n), make([]*int32, n), make([]*int32, n), make([]*int32, n)
	for i := range attempts {
		a := &attempts[i]
		events[i], webhooks[i], micros[i] = a.Event, a.Webhook, a.Duration.Microseconds()
		numbers[i], statuses[i], at[i], classes[i] = int32(a.Number), int32(a.Status), a.At, a.Class
		responses[i], errs[i] = textOrNull(&a.Response), textOrNull(&a.Error)
		dns[i], connect[i], tls[i], first[i] = phase(a.Phases.DNS), phase(a.Phases.Connect), phase(a.Phases.TLS), phase(a.Phases.FirstByte)
	}
	batch.Queue(`INSERT INTO attempt (day, event, webhook, number, at, micros, class, status, response, error, dns, connect, tls, first_byte)
		SELECT `+today+`, * FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::timestamptz[], $5::bigint[], $6::text[], $7::int[], $8::text[],
			$9::text[], $10::int[], $11::int[], $12::int[], $13::int[])`,
		events, webhooks, numbers, at, micros, classes, statuses, responses, errs, dns, connect, tls, first)
}

func textOrNull(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}

func phase(d time.Duration) *int32 {
	if d <= 0 {
		return nil
	}
	micros := int32(min(d.Microseconds(), 1<<31-1))
	return &micros
}

// queueParked writes only what the member may still say: of a delivery that another relay has claimed, or of a webhook that
// another one serves, it knows nothing any more.
func (d *Delivery) queueParked(batch *pgx.Batch, member int64, leads bool) {
	// Of one delivery, what was said last comes last.
	slices.SortStableFunc(d.Unpark, func(a, b DeliveryKey) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	slices.SortStableFunc(d.Park, func(a, b Parked) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Event, b.Event))
	})
	for i := range d.Unpark {
		batch.Queue(`DELETE FROM retry WHERE event = $1 AND webhook = $2 AND lease = $3`, d.Unpark[i].Event, d.Unpark[i].Webhook, member)
	}
	for i := range d.Unlease {
		batch.Queue(`UPDATE retry SET lease = NULL WHERE event = $1 AND webhook = $2 AND lease = $3`, d.Unlease[i].Event, d.Unlease[i].Webhook, member)
	}
	for i := range d.Park {
		p := &d.Park[i]
		dead := p.Due.IsZero()
		wait := time.Duration(0)
		if !dead {
			wait = time.Until(p.Due) // the server counts from its own now
		}
		if p.Again {
			batch.Queue(`UPDATE retry SET attempts = $4, due = CASE WHEN $5 THEN 'infinity' ELSE clock_timestamp() + $6::interval END,
					class = $7, status = $8, lease = NULL WHERE event = $1 AND webhook = $2 AND lease = $3`,
				p.Event, p.Webhook, member, p.Attempts, dead, wait, p.Class, p.Status)
			continue
		}
		batch.Queue(`INSERT INTO retry (event, webhook, attempts, due, class, status, order_key) SELECT $4, $3, $5, CASE WHEN $6 THEN 'infinity' ELSE clock_timestamp() + $7::interval END, $8, $9, nullif($10, '')
			WHERE EXISTS (SELECT FROM webhook WHERE id = $3 AND `+mayServe+`)
			ON CONFLICT (event, webhook) DO UPDATE SET attempts = greatest(retry.attempts, excluded.attempts), due = excluded.due,
				class = excluded.class, status = excluded.status, lease = NULL`,
			member, leads, p.Webhook, p.Event, p.Attempts, dead, wait, p.Class, p.Status, p.Key)
	}
}

// readSpan bounds how much of the log one read looks at.
const readSpan = 20000

// Read says which events of a webhook to read.
type Read struct {
	Webhook        int64
	After, Through int64 // event ids
	// Limit and Bytes bound what is read; it is one event at least.
	Limit, Bytes int
	// Held are events whose bodies need not be read: they are returned without, and count nothing.
	Held []int64
	// MaxBody is the size up to which bodies are sent; 0 is any. Larger ones are not read.
	MaxBody int64
}

const readEvents = `
SELECT id, webhook_id, name, tenant, resource, occurred, CASE WHEN size > 1 THEN body END, length, reconciled, wanted FROM (
	SELECT *, sum(size) OVER (ORDER BY id) AS total, count(*) OVER () AS wanted FROM (
		SELECT id, webhook_id, name, coalesce(tenant, '') AS tenant, resource, occurred, body, reconciled,
			coalesce(octet_length(body), 0) AS length,
			CASE WHEN id = ANY ($6) THEN 0 WHEN body IS NULL OR $7::bigint > 0 AND octet_length(body) > $7::bigint THEN 1 ELSE octet_length(body) END AS size
		FROM event WHERE id > $1 AND id <= $2 AND $3 = ANY (webhooks) ORDER BY id LIMIT $4
	) AS e
) AS e WHERE total - size < $5 ORDER BY id`

// ReadEvents returns events of one webhook in the order of their ids, and the id up to which it has looked. The sizes of bodies
// are known without reading them, so no more than asked for is read.
func (s *Store) ReadEvents(ctx context.Context, r Read) ([]Event, int64, error) {
	through := min(r.Through, r.After+readSpan)
	rows, err := s.pool.Query(ctx, readEvents, r.After, through, r.Webhook, r.Limit, r.Bytes, r.Held, r.MaxBody)
	if err != nil {
		return nil, 0, fmt.Errorf("read the event log: %w", err)
	}
	wanted := 0
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (Event, error) {
		var e Event
		err := row.Scan(&e.ID, &e.WebhookID, &e.Name, &e.Tenant, &e.Resource, &e.Occurred, &e.Body, &e.Length, &e.Reconciled, &wanted)
		return e, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the event log: %w", err)
	}
	if len(events) > 0 && (wanted == r.Limit || len(events) < wanted) {
		through = events[len(events)-1].ID
	}
	return events, through, nil
}

// Notices returns the oldest of what happened and was not yet made an event of.
func (s *Store) Notices(ctx context.Context, limit int) ([]Notice, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, at, webhook, name, coalesce(event, 0), data::text FROM operational_event ORDER BY id LIMIT $1`, limit)
	if err != nil {
		return nil, fmt.Errorf("read notices: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (n Notice, err error) {
		var data string
		err = row.Scan(&n.ID, &n.At, &n.Webhook, &n.Name, &n.Event, &data)
		n.Data = json.RawMessage(data)
		return n, err
	})
}
