package outbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// querier is a connection or a transaction on it.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

type rowID struct {
	table *cdc.Table
	key   cdc.Key
}

type ownerID struct {
	table  *cdc.Table
	parent cdc.Key
}

// Mirror shows the relay's copy of the IAM's rows as of the transaction being ingested: what is stored, overlaid with the
// changes of the running batch. It belongs to the ingest goroutine. It serves mapping.Rows; a row that was not loaded ahead
// is fetched when it is asked for, and an error doing so is kept for Err.
type Mirror struct {
	query  querier
	owners map[*cdc.Table]int // the column by which a table's rows are found from their parent
	keys   *keys

	ctx    context.Context // of the batch: mapping.Rows has no place for it
	hot    rowCache
	batch  map[rowID]cdc.Row                // changed in this batch; nil is deleted
	owned  map[ownerID]map[cdc.Key]struct{} // those of them that have an owner, by it
	err    error
	pinned      // loaded for this batch
	partly bool // the last Children left rows out

	large bool // a large transaction is being mapped: what is stored is as of after it

	wantRows                 []rowID
	wantChildren, wantFormer []ownerID
}

// pinned is what was loaded for a batch, as it is stored. It stays until the end of the batch, whatever the cache forgets.
type pinned struct {
	loaded   map[rowID]cdc.Row
	absent   map[rowID]struct{}
	children map[ownerID][]cdc.Row
	former   map[ownerID][]cdc.Row // as before the large transaction
	bytes    int
}

const (
	// mirrorCache bounds the rows kept from batch to batch, in bytes.
	mirrorCache = 6 << 20
	// mirrorBatch bounds the rows loaded for one batch.
	mirrorBatch = 8 << 20
	// mirrorChildren bounds the children of one row.
	mirrorChildren = 48 << 20
)

// ErrFull says that not all rows that a batch wants fit into memory. What is missing is still fetched when it is asked for,
// one by one; a smaller batch is faster.
var ErrFull = errors.New("the batch wants more rows of the mirror than fit into memory")

// NewMirror returns the mirror that l ingests into. owners names, for each table whose rows are collected into their
// parent's data, the index of the column that holds the parent's key.
func (l *Leader) NewMirror(owners map[*cdc.Table]int) *Mirror {
	m := &Mirror{query: l.write, owners: owners, keys: l.store.keys, hot: rowCache{limit: mirrorCache / 2}}
	m.Reset()
	return m
}

// Reset forgets the batch and everything remembered: after a failed commit the store is the only truth.
func (m *Mirror) Reset() {
	m.hot.clear()
	m.clearBatch()
}

func (m *Mirror) clearBatch() {
	m.batch, m.owned = map[rowID]cdc.Row{}, map[ownerID]map[cdc.Key]struct{}{}
	m.pinned = pinned{loaded: map[rowID]cdc.Row{}, absent: map[rowID]struct{}{}, children: map[ownerID][]cdc.Row{}, former: map[ownerID][]cdc.Row{}}
	m.wantRows, m.wantChildren, m.wantFormer, m.err, m.partly = nil, nil, nil, nil, false
}

// Begin starts a batch.
func (m *Mirror) Begin(ctx context.Context) { m.ctx = ctx; m.clearBatch() }

// Want notes a row that will be asked for, unless it is at hand.
func (m *Mirror) Want(ref mapping.Ref) {
	if ref.By != 0 {
		id := ownerID{ref.Table, ref.Key}
		known, want := m.children, &m.wantChildren
		if ref.Before && m.large {
			known, want = m.former, &m.wantFormer
		}
		if _, ok := known[id]; !ok {
			*want = append(*want, id)
		}
		return
	}
	id := rowID{ref.Table, ref.Key}
	if _, ok := m.lookup(id); !ok {
		m.wantRows = append(m.wantRows, id)
	}
}

// Wanting reports whether something wanted is not loaded yet.
func (m *Mirror) Wanting() bool {
	return len(m.wantRows) > 0 || len(m.wantChildren) > 0 || len(m.wantFormer) > 0
}

// lookup says what is known of a row without asking the store.
func (m *Mirror) lookup(id rowID) (cdc.Row, bool) {
	if row, ok := m.batch[id]; ok {
		return row, true
	}
	if row, ok := m.loaded[id]; ok {
		return row, true
	}
	if row, ok := m.hot.get(id); ok {
		m.pin(id, row)
		return row, true
	}
	_, absent := m.absent[id]
	return nil, absent
}

func (m *Mirror) pin(id rowID, row cdc.Row) {
	m.loaded[id] = row
	m.bytes += entryBytes(id.key, row)
}

// Row returns the row as of now in the batch, or nil.
func (m *Mirror) Row(table *cdc.Table, key cdc.Key) cdc.Row {
	id := rowID{table, key}
	row, ok := m.lookup(id)
	if ok {
		return row
	}
	m.wantRows = append(m.wantRows, id)
	if err := m.load(math.MaxInt, nil); err != nil {
		m.err = err
		return nil
	}
	row = m.loaded[id]
	if m.bytes > mirrorBatch && row != nil {
		delete(m.loaded, id)
		m.bytes -= entryBytes(key, row)
	}
	return row
}

// Children returns the rows of table that belong to the parent as of now in the batch, in key order. Where they take too much
// memory it returns none, and Partly reports that.
func (m *Mirror) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	id := ownerID{table, parent}
	stored := m.storedChildren(id, m.children, &m.wantChildren)
	if m.partly || m.err != nil {
		return nil
	}
	return m.overlaid(stored, id)
}

// storedChildren returns the rows that known, or the store, has of an owner. Those that take much memory are not kept.
func (m *Mirror) storedChildren(id ownerID, known map[ownerID][]cdc.Row, want *[]ownerID) []cdc.Row {
	m.partly = false
	rows, ok := known[id]
	if ok {
		return rows
	}
	before := m.bytes
	*want = append(*want, id)
	err := m.load(before+mirrorChildren, nil)
	if errors.Is(err, ErrFull) {
		m.partly, m.bytes = true, before
		return nil
	}
	if err != nil {
		m.err = err
		return nil
	}
	rows = known[id]
	if m.bytes > mirrorBatch {
		delete(known, id)
		m.bytes = before
	}
	return rows
}

// Partly reports whether the last Children left rows out because they take too much memory.
func (m *Mirror) Partly() bool { return m.partly }

// overlaid adds to a parent's stored children what the batch has made of them.
func (m *Mirror) overlaid(stored []cdc.Row, owner ownerID) []cdc.Row {
	owned := m.owned[owner]
	if len(stored)+len(owned) == 0 {
		return nil
	}
	rows := make(map[cdc.Key]cdc.Row, len(stored)+len(owned))
	for _, row := range stored {
		key, err := owner.table.KeyOf(row)
		if err != nil {
			continue // a stored row has its key
		}
		if _, changed := m.batch[rowID{owner.table, key}]; !changed {
			rows[key] = row
		}
	}
	for key := range owned {
		rows[key] = m.batch[rowID{owner.table, key}]
	}
	keys := make([]cdc.Key, 0, len(rows))
	for key := range rows {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b cdc.Key) int { return strings.Compare(string(a), string(b)) })
	sorted := make([]cdc.Row, len(keys))
	for i, key := range keys {
		sorted[i] = rows[key]
	}
	return sorted
}

// Fail keeps an error for Err.
func (m *Mirror) Fail(err error) { m.err = errors.Join(m.err, err) }

// Err returns the first failure to fetch a row since Begin. A batch that has one must not be committed.
func (m *Mirror) Err() error { return m.err }

// Apply makes one resolved change visible to the rest of the batch.
func (m *Mirror) Apply(c *cdc.Change) {
	id, row := rowID{c.Relation.Table, c.Key}, c.New
	if c.Op == cdc.Delete {
		row = nil
	}
	row = keepAbsent(row, c.Old)
	if by, owned := m.owners[id.table]; owned {
		if former, ok := ownerOf(id.table, m.batch[id], by); ok {
			delete(m.owned[former], id.key)
		}
		if owner, ok := ownerOf(id.table, row, by); ok {
			if m.owned[owner] == nil {
				m.owned[owner] = map[cdc.Key]struct{}{}
			}
			m.owned[owner][id.key] = struct{}{}
		}
	}
	m.batch[id] = row
}

// ownerOf returns the row's owner, if it has one.
func ownerOf(table *cdc.Table, row cdc.Row, by int) (ownerID, bool) {
	if by >= len(row) || row[by].Kind != cdc.Text {
		return ownerID{}, false
	}
	return ownerID{table, cdc.Key(row[by].Text)}, true
}

// Write adds the batch's changes to a chunk.
func (m *Mirror) Write(chunk *Chunk) {
	for id, row := range m.batch {
		if row == nil {
			if _, absent := m.absent[id]; !absent {
				chunk.Delete(id.table, id.key)
			}
			continue
		}
		chunk.upsert(id.table, id.key, row, m.owners, m.keys)
	}
}

// Committed keeps the batch's rows as hot ones: the store now has them.
func (m *Mirror) Committed() {
	for id, row := range m.batch {
		if row == nil {
			m.hot.drop(id)
		} else {
			m.hot.put(id, row)
		}
	}
	m.clearBatch()
}
