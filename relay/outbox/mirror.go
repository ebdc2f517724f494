package outbox

import (
	"context"
	"errors"
	"math"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

type rowID struct {
	table *cdc.Table
	key   cdc.Key
}

type parentID struct {
	table  *cdc.Table
	parent cdc.Key
}

// Mirror is a view of the relay's copy of the IAM's rows as of the transaction being ingested: the stored rows, overlaid with the changes
// of the current batch. It implements mapping.Rows. A row that was not prefetched is fetched on demand; an error while doing so is
// returned by Err. It is not safe for concurrent use.
type Mirror struct {
	store   MirrorStore
	parents map[*cdc.Table]int // the column that holds the parent's key
	keys    *keys
	limits  MirrorLimits

	ctx      context.Context // of the batch; the methods of mapping.Rows take none
	hot      rowCache
	batch    map[rowID]cdc.Row                 // changed in this batch; nil if deleted
	byParent map[parentID]map[cdc.Key]struct{} // keys of the rows in batch that have a parent
	err      error
	pinned        // rows loaded for this batch
	omitted  bool // the last Children or ChildrenBefore did not fit into memory

	large       bool        // a large transaction is being mapped; the stored rows already include it
	beforeLarge MirrorStore // to read from after it

	wantRows                 []rowID
	wantChildren, wantBefore []parentID
}

// pinned holds the stored rows that were loaded for a batch. Unlike the cache, it evicts nothing until the batch ends.
type pinned struct {
	loaded   map[rowID]cdc.Row
	absent   map[rowID]struct{}
	children map[parentID][]cdc.Row
	before   map[parentID][]cdc.Row // children as before the large transaction
	bytes    int
}

// MirrorLimits bounds the memory of a Mirror, in bytes.
type MirrorLimits struct {
	Cache int // rows kept between batches
	Batch int // rows loaded for one batch
}

// DefaultMirrorLimits are the limits of Leader.NewMirror.
var DefaultMirrorLimits = MirrorLimits{Cache: 6 << 20, Batch: 8 << 20}

// mirrorChildren bounds the children of one row, in bytes.
const mirrorChildren = 48 << 20

// ErrFull reports that the rows wanted by a batch do not fit into memory. The missing ones are fetched on demand, one by one; a smaller
// batch is faster.
var ErrFull = errors.New("the batch needs more mirrored rows than fit into memory")

// NewMirror returns the mirror that l ingests into. For each table whose rows are part of their parent's payload, parents has the index
// of the column that holds the parent's key.
func (l *Leader) NewMirror(parents map[*cdc.Table]int) *Mirror {
	m := NewMirror(mirrorTable{l.write}, parents, DefaultMirrorLimits)
	m.keys = l.store.keys
	return m
}

// NewMirror returns a view of stored rows without encrypted values.
func NewMirror(store MirrorStore, parents map[*cdc.Table]int, limits MirrorLimits) *Mirror {
	m := &Mirror{store: store, parents: parents, limits: limits, hot: rowCache{limit: limits.Cache / 2}}
	m.Reset()
	return m
}

// BeginLarge makes the mirror read through a large transaction until EndLarge.
func (m *Mirror) BeginLarge(through MirrorStore) {
	m.store, m.beforeLarge, m.large = through, m.store, true
}

// EndLarge discards what was read through the large transaction.
func (m *Mirror) EndLarge() {
	m.store, m.beforeLarge, m.large = m.beforeLarge, nil, false
	m.Reset()
}

// Reset discards the batch and the cache, as is necessary after a failed commit.
func (m *Mirror) Reset() {
	m.hot.clear()
	m.clearBatch()
}

func (m *Mirror) clearBatch() {
	m.batch, m.byParent = map[rowID]cdc.Row{}, map[parentID]map[cdc.Key]struct{}{}
	m.pinned = pinned{loaded: map[rowID]cdc.Row{}, absent: map[rowID]struct{}{}, children: map[parentID][]cdc.Row{}, before: map[parentID][]cdc.Row{}}
	m.wantRows, m.wantChildren, m.wantBefore, m.err, m.omitted = nil, nil, nil, nil, false
}

// Begin starts a batch.
func (m *Mirror) Begin(ctx context.Context) { m.ctx = ctx; m.clearBatch() }

// Want registers a row, or the children of one, for the next Load.
func (m *Mirror) Want(ref mapping.Ref) {
	if ref.By != 0 {
		id := parentID{ref.Table, ref.Key}
		known, want := m.children, &m.wantChildren
		if ref.Before && m.large {
			known, want = m.before, &m.wantBefore
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

// Wanting reports whether there is anything to load.
func (m *Mirror) Wanting() bool {
	return len(m.wantRows) > 0 || len(m.wantChildren) > 0 || len(m.wantBefore) > 0
}

// lookup returns a row that is in memory. The row is nil if it is known not to exist.
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

// Row returns the row as of the current change, or nil.
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
	if m.bytes > m.limits.Batch && row != nil {
		delete(m.loaded, id)
		m.bytes -= entryBytes(key, row)
	}
	return row
}

// Children returns the rows of table that belong to the parent as of the current change, in key order. If they do not fit into memory, it
// returns none and ChildrenOmitted reports true.
func (m *Mirror) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	id := parentID{table, parent}
	stored := m.storedChildren(id, m.children, &m.wantChildren)
	if m.omitted || m.err != nil {
		return nil
	}
	return m.overlaid(stored, id)
}

// storedChildren returns the stored rows of a parent, from known if they are there. It does not keep them if they take much memory.
func (m *Mirror) storedChildren(id parentID, known map[parentID][]cdc.Row, want *[]parentID) []cdc.Row {
	m.omitted = false
	rows, ok := known[id]
	if ok {
		return rows
	}
	before := m.bytes
	*want = append(*want, id)
	err := m.load(before+mirrorChildren, nil)
	if errors.Is(err, ErrFull) {
		m.omitted, m.bytes = true, before
		return nil
	}
	if err != nil {
		m.err = err
		return nil
	}
	rows = known[id]
	if m.bytes > m.limits.Batch {
		delete(known, id)
		m.bytes = before
	}
	return rows
}

// ChildrenOmitted reports whether the rows of the last Children or ChildrenBefore did not fit into memory.
func (m *Mirror) ChildrenOmitted() bool { return m.omitted }

// Fail records an error for Err.
func (m *Mirror) Fail(err error) { m.err = errors.Join(m.err, err) }

// Err returns the errors since Begin. If there is one, the batch must not be committed.
func (m *Mirror) Err() error { return m.err }
