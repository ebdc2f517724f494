package outbox

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Chunk is the content of an outbox commit, or of a part of a large one.
type Chunk struct {
	// Mark, if not nil, is stored with the position.
	Mark *cdc.HistoryMark

	Events   []Event
	Webhooks []Webhook
	Delayed  []DelayedEvent
	// Cancel deletes delayed events that were canceled, DelayedDone those that are in Events now.
	Cancel      []Cancellation
	DelayedDone []DelayedEvent
	// Canceled is the number of events that Cancel deleted. It is set when the chunk is written.
	Canceled int
	// OperationalEvents are the ids of the operational events that are in Events now. They are deleted.
	OperationalEvents []int64
	// Bytes estimates the size of the statements. Only what was added by a method is counted.
	Bytes int

	// Upserts are new versions of mirrored rows, Deletes mirrored rows to delete.
	Upserts []StoredRow
	Deletes []StoredKey
	// Before are child rows as they were before a large transaction, for table mirror_before: while such a transaction is mapped, the
	// mirror already includes it. A row that did not exist has neither parent nor fields.
	Before []StoredRow
}

// Add adds an event to the event log.
func (c *Chunk) Add(e Event) {
	c.Events = append(c.Events, e)
	c.Bytes += e.bytes()
}

// AddDelayed adds a delayed event.
func (c *Chunk) AddDelayed(h DelayedEvent) {
	c.Delayed = append(c.Delayed, h)
	c.Bytes += h.bytes()
}

// AddWebhooks adds changed subscriptions.
func (c *Chunk) AddWebhooks(webhooks []Webhook) {
	c.Webhooks = append(c.Webhooks, webhooks...)
	for i := range webhooks {
		c.Bytes += webhooks[i].bytes()
	}
}

// upsert adds a new version of a mirrored row.
func (c *Chunk) upsert(table *cdc.Table, key cdc.Key, row cdc.Row, parents map[*cdc.Table]int, k *keys) {
	stored := storedKey(key)
	r := StoredRow{StoredKey: StoredKey{table.Name, stored}, Fields: storedFields(table, stored, row, k)}
	if by, ok := parents[table]; ok && row[by].Kind == cdc.Text {
		text := indexed(row[by].Text)
		r.Parent = &text
	}
	c.Upserts = append(c.Upserts, r)
	c.Bytes += 100 + len(stored) + len(r.Fields)
}

// Delete deletes a mirrored row.
func (c *Chunk) Delete(table *cdc.Table, key cdc.Key) {
	c.Deletes = append(c.Deletes, StoredKey{table.Name, storedKey(key)})
	c.Bytes += 100 + len(key)
}

func (c *Chunk) queue(batch *pgx.Batch, s *Store) {
	if len(c.Webhooks) > 0 {
		queueWebhooks(batch, c.Webhooks, s.keys)
	}
	c.queueAhead(batch, s.ServerTime(time.Now()))
	eachPiece(len(c.Events), func(i int) int { return c.Events[i].bytes() }, func(from, to int) { queueEvents(batch, c.Events[from:to]) })
	eachPiece(len(c.Deletes), func(i int) int { return len(c.Deletes[i].Key) }, func(from, to int) {
		tables, keys := columnsOf(c.Deletes[from:to])
		batch.Queue(`DELETE FROM mirror m USING unnest($1::text[], $2::text[]) AS w(table_name, key)
			WHERE m.table_name = w.table_name COLLATE "C" AND m.key = w.key COLLATE "C"`, tables, keys)
	})
	eachStoredPiece(c.Upserts, func(rows ...any) {
		batch.Queue(`INSERT INTO mirror (table_name, key, parent, fields) SELECT table_name, key, parent, fields::json
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(table_name, key, parent, fields)
			ON CONFLICT (table_name, key) DO UPDATE SET parent = excluded.parent, fields = excluded.fields`, rows...)
	})
	eachStoredPiece(c.Before, func(rows ...any) {
		batch.Queue(`INSERT INTO mirror_before (table_name, key, parent, fields) SELECT table_name, key, parent, fields::json
			FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(table_name, key, parent, fields)`, rows...)
	})
	c.queueDelayed(batch)
	if len(c.OperationalEvents) > 0 {
		batch.Queue(`DELETE FROM operational_event WHERE id = ANY ($1)`, c.OperationalEvents)
	}
}

// pieceBytes bounds the arrays of a statement; a single larger element is still sent. The server refuses messages of a gibibyte, and needs
// several times their size.
const pieceBytes = 4 << 20

// eachPiece splits n elements into ranges of at most pieceBytes, and calls each for every range.
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

// eachStoredPiece calls each with the tables, keys, parents and fields of every piece, for unnest.
func eachStoredPiece(rows []StoredRow, each func(rows ...any)) {
	eachPiece(len(rows), func(i int) int { return len(rows[i].Key) + len(rows[i].Fields) }, func(from, to int) {
		n := to - from
		tables, keys, parents, fields := make([]string, n), make([]string, n), make([]*string, n), make([][]byte, n)
		for i, r := range rows[from:to] {
			tables[i], keys[i], parents[i], fields[i] = r.Table, r.Key, r.Parent, r.Fields
		}
		each(tables, keys, parents, fields)
	})
}
