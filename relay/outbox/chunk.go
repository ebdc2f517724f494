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

	upsertTables, upsertKeys, upsertRows []string
	upsertParents                        []*string
	deleteTables, deleteKeys             []string
	buffer                               []byte

	before beforeRows
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
	c.buffer = appendRow(c.buffer[:0], table, stored, row, k)
	c.upsertTables = append(c.upsertTables, table.Name)
	c.upsertKeys = append(c.upsertKeys, stored)
	c.upsertRows = append(c.upsertRows, string(c.buffer))
	c.Bytes += 100 + len(stored) + len(c.buffer)
	var parent *string
	if by, ok := parents[table]; ok && row[by].Kind == cdc.Text {
		text := indexed(row[by].Text)
		parent = &text
	}
	c.upsertParents = append(c.upsertParents, parent)
}

// Delete deletes a mirrored row.
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
			c.upsertTables[from:to], c.upsertKeys[from:to], c.upsertParents[from:to], c.upsertRows[from:to])
	})
	c.before.queue(batch)
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
