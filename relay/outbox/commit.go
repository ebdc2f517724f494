package outbox

import (
	"context"
	"fmt"
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
	// Body is sent and signed byte for byte.
	Body []byte
	// Reconciled: a comparison has found it, the log did not tell.
	Reconciled bool
	// Webhooks are those subscribed as of the event's transaction.
	Webhooks []int64
}

// Held is an event that a change within its time may still cancel. It has no ID yet.
type Held struct {
	Event
	Match string
	Until time.Time // in the IAM's commit time
}

// Chunk is what one outbox commit, or a part of a large one, writes.
type Chunk struct {
	Events   []Event
	Webhooks []Webhook
	Hold     []Held
	Unhold   []Held
	// Notices that the chunk's events were made of.
	Notices []int64

	upsertTables, upsertKeys, upsertRows []string
	upsertOwners                         []*string
	deleteTables, deleteKeys             []string
	buffer                               []byte
}

// upsert adds a mirror row.
func (c *Chunk) upsert(table *cdc.Table, key cdc.Key, row cdc.Row, owners map[*cdc.Table]int, k *keys) {
	c.buffer = appendRow(c.buffer[:0], table, key, row, k)
	c.upsertTables = append(c.upsertTables, table.Name)
	c.upsertKeys = append(c.upsertKeys, string(key))
	c.upsertRows = append(c.upsertRows, string(c.buffer))
	var owner *string
	if by, ok := owners[table]; ok && row[by].Kind == cdc.Text {
		owner = &row[by].Text
	}
	c.upsertOwners = append(c.upsertOwners, owner)
}

// Delete removes a mirror row.
func (c *Chunk) Delete(table *cdc.Table, key cdc.Key) {
	c.deleteTables = append(c.deleteTables, table.Name)
	c.deleteKeys = append(c.deleteKeys, string(key))
}

// Commit writes a chunk and the position that it brings the outbox to, in one transaction and one round trip.
func (l *Leader) Commit(ctx context.Context, chunk *Chunk, lsn cdc.LSN, lastEvent int64) error {
	batch := &pgx.Batch{} // without BEGIN, a batch is one implicit transaction
	chunk.queue(batch, l.store.keys)
	batch.Queue(`SELECT advance($1, $2::text::pg_lsn, $3)`, l.epoch, lsn.String(), lastEvent)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, fenced(err))
	}
	return nil
}

// Large is an outbox transaction written in chunks, for a source transaction that does not fit into memory.
type Large struct {
	leader *Leader
	tx     pgx.Tx
}

// Begin starts one. Until it ends, the mirror reads through it.
func (l *Leader) Begin(ctx context.Context, m *Mirror) (*Large, error) {
	tx, err := l.write.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin an outbox transaction: %w", err)
	}
	m.query = tx
	return &Large{leader: l, tx: tx}, nil
}

// Write adds a chunk.
func (t *Large) Write(ctx context.Context, chunk *Chunk) error {
	batch := &pgx.Batch{}
	chunk.queue(batch, t.leader.store.keys)
	if batch.Len() == 0 {
		return nil
	}
	if err := t.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("write to the outbox: %w", err)
	}
	return nil
}

// Commit ends the transaction at lsn.
func (t *Large) Commit(ctx context.Context, lsn cdc.LSN, lastEvent int64) error {
	if _, err := t.tx.Exec(ctx, `SELECT advance($1, $2::text::pg_lsn, $3)`, t.leader.epoch, lsn.String(), lastEvent); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, fenced(err))
	}
	if err := t.tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit to the outbox at %s: %w", lsn, err)
	}
	return nil
}

// End releases the transaction, undoing it unless it was committed, and gives the mirror its connection back.
func (t *Large) End(m *Mirror) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m.query = t.leader.write
	m.Reset()
	if err := t.tx.Rollback(ctx); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it bare
		return fmt.Errorf("undo an outbox transaction: %w", err)
	}
	return nil
}

func (c *Chunk) queue(batch *pgx.Batch, k *keys) {
	if len(c.Webhooks) > 0 {
		queueWebhooks(batch, c.Webhooks, k)
	}
	if len(c.Events) > 0 {
		c.queueEvents(batch)
	}
	if len(c.deleteKeys) > 0 {
		batch.Queue(`DELETE FROM mirror m USING unnest($1::text[], $2::text[]) AS w(tbl, key)
			WHERE m.tbl = w.tbl COLLATE "C" AND m.key = w.key COLLATE "C"`, c.deleteTables, c.deleteKeys)
	}
	if len(c.upsertKeys) > 0 {
		batch.Queue(`INSERT INTO mirror (tbl, key, owner, fields) SELECT tbl, key, owner, fields::json
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(tbl, key, owner, fields)
			ON CONFLICT (tbl, key) DO UPDATE SET owner = excluded.owner, fields = excluded.fields`,
			c.upsertTables, c.upsertKeys, c.upsertOwners, c.upsertRows)
	}
	for i := range c.Hold {
		h := &c.Hold[i]
		batch.Queue(`INSERT INTO held (lsn, ordinal, webhook_id, name, tenant, resource, occurred, body, webhooks, match, until, reconciled)
			VALUES ($1::text::pg_lsn, $2, $3, $4, nullif($5, ''), $6, $7, $8, $9, $10, $11, $12)`,
			h.LSN.String(), h.Ordinal, h.WebhookID, h.Name, h.Tenant, h.Resource, h.Occurred, h.Body, h.Webhooks, h.Match, h.Until, h.Reconciled)
	}
	if len(c.Notices) > 0 {
		batch.Queue(`DELETE FROM notice WHERE id = ANY ($1)`, c.Notices)
	}
	for i := range c.Unhold {
		h := &c.Unhold[i]
		batch.Queue(`DELETE FROM held WHERE lsn = $1::text::pg_lsn AND ordinal = $2`, h.LSN.String(), h.Ordinal)
	}
}

// queueEvents appends to the log with one statement. The ragged webhook lists travel as array literals.
func (c *Chunk) queueEvents(batch *pgx.Batch) {
	n := len(c.Events)
	ids, ordinals := make([]int64, n), make([]int32, n)
	webhookIDs, names, tenants := make([]string, n), make([]string, n), make([]string, n)
	resources, lsns, webhooks := make([]string, n), make([]string, n), make([]string, n)
	occurred, bodies, reconciled := make([]time.Time, n), make([][]byte, n), make([]bool, n)
	for i := range c.Events {
		e := &c.Events[i]
		ids[i], ordinals[i], webhookIDs[i], names[i], tenants[i] = e.ID, int32(e.Ordinal), e.WebhookID, e.Name, e.Tenant
		resources[i], lsns[i], occurred[i], bodies[i] = e.Resource, e.LSN.String(), e.Occurred, e.Body
		webhooks[i], reconciled[i] = arrayLiteral(e.Webhooks), e.Reconciled
	}
	batch.Queue(`INSERT INTO event (id, day, webhook_id, name, tenant, resource, occurred, lsn, ordinal, body, webhooks, reconciled)
		SELECT id, $11::date, webhook_id, name, nullif(tenant, ''), resource, occurred, lsn::pg_lsn, ordinal, body, webhooks::bigint[], reconciled
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::int[], $9::bytea[], $10::text[], $12::bool[])
		AS w(id, webhook_id, name, tenant, resource, occurred, lsn, ordinal, body, webhooks, reconciled)`,
		ids, webhookIDs, names, tenants, resources, occurred, lsns, ordinals, bodies, webhooks, today(), reconciled)
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

// HeldEvents reads all held events, oldest first.
func (s *Store) HeldEvents(ctx context.Context) ([]Held, error) {
	rows, err := s.pool.Query(ctx, `SELECT lsn::text, ordinal, webhook_id, name, coalesce(tenant, ''), resource, occurred, body, webhooks, match, until, reconciled
		FROM held ORDER BY lsn, ordinal`)
	if err != nil {
		return nil, fmt.Errorf("read held events: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (Held, error) {
		var h Held
		var lsn string
		err := row.Scan(&lsn, &h.Ordinal, &h.WebhookID, &h.Name, &h.Tenant, &h.Resource, &h.Occurred, &h.Body, &h.Webhooks, &h.Match, &h.Until, &h.Reconciled)
		if err != nil {
			return h, err
		}
		h.LSN, err = cdc.ParseLSN(lsn)
		return h, err
	})
}
