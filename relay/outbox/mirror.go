package outbox

import (
	"context"
	"errors"
	"fmt"
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

	ctx      context.Context // of the batch: mapping.Rows has no place for it
	hot      rowCache
	batch    map[rowID]cdc.Row // changed in this batch; nil is deleted
	owned    map[rowID]cdc.Row // those of them in tables with an owner
	absent   map[rowID]struct{}
	children map[ownerID][]cdc.Row // as stored, before the batch
	err      error

	wantRows     []rowID
	wantChildren []ownerID
}

// mirrorCache bounds the rows kept in memory, in bytes.
const mirrorCache = 6 << 20

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
	m.batch, m.owned, m.absent, m.children = map[rowID]cdc.Row{}, map[rowID]cdc.Row{}, map[rowID]struct{}{}, map[ownerID][]cdc.Row{}
	m.wantRows, m.wantChildren, m.err = nil, nil, nil
}

// Begin starts a batch.
func (m *Mirror) Begin(ctx context.Context) { m.ctx = ctx; m.clearBatch() }

// Want notes a row that will be asked for, unless it is at hand.
func (m *Mirror) Want(ref mapping.Ref) {
	if ref.By != 0 {
		id := ownerID{ref.Table, ref.Key}
		if _, ok := m.children[id]; !ok {
			m.wantChildren = append(m.wantChildren, id)
		}
		return
	}
	id := rowID{ref.Table, ref.Key}
	if _, ok := m.lookup(id); !ok {
		m.wantRows = append(m.wantRows, id)
	}
}

// Wanting reports whether something wanted is not loaded yet.
func (m *Mirror) Wanting() bool { return len(m.wantRows) > 0 || len(m.wantChildren) > 0 }

// Load fetches everything wanted in one round trip and hands each row that it found to found.
func (m *Mirror) Load(found func(*cdc.Table, cdc.Row)) (err error) {
	if !m.Wanting() {
		return nil
	}
	batch := &pgx.Batch{}
	rows, rowTables := m.queueRows(batch)
	children, childTables := m.queueChildren(batch)
	results := m.query.SendBatch(m.ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	if len(rows) > 0 {
		if err := m.readRows(results, rows, rowTables, found); err != nil {
			return err
		}
	}
	if len(children) > 0 {
		if err := m.readChildren(results, children, childTables, found); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mirror) queueRows(batch *pgx.Batch) (map[rowID]struct{}, map[string]*cdc.Table) {
	wanted, tables := map[rowID]struct{}{}, map[string]*cdc.Table{}
	var names, keys []string
	for _, id := range m.wantRows {
		if _, twice := wanted[id]; !twice {
			wanted[id] = struct{}{}
			tables[id.table.Name] = id.table
			names, keys = append(names, id.table.Name), append(keys, string(id.key))
		}
	}
	m.wantRows = m.wantRows[:0]
	if len(wanted) > 0 {
		batch.Queue(`SELECT m.tbl, m.key, m.fields::text FROM unnest($1::text[], $2::text[]) AS w(tbl, key)
			JOIN mirror m ON m.tbl = w.tbl COLLATE "C" AND m.key = w.key COLLATE "C"`, names, keys)
	}
	return wanted, tables
}

func (m *Mirror) readRows(results pgx.BatchResults, wanted map[rowID]struct{}, tables map[string]*cdc.Table, found func(*cdc.Table, cdc.Row)) error {
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		table := tables[string(raw[0])]
		id := rowID{table, cdc.Key(raw[1])}
		row, err := parseRow(table, id.key, raw[2], m.keys)
		if err != nil {
			return err
		}
		delete(wanted, id)
		m.hot.put(id, row)
		found(table, row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	for id := range wanted {
		m.absent[id] = struct{}{}
	}
	return nil
}

func (m *Mirror) queueChildren(batch *pgx.Batch) (map[ownerID]struct{}, map[string]*cdc.Table) {
	wanted, tables := map[ownerID]struct{}{}, map[string]*cdc.Table{}
	var names, owners []string
	for _, id := range m.wantChildren {
		if _, twice := wanted[id]; !twice {
			wanted[id] = struct{}{}
			tables[id.table.Name] = id.table
			names, owners = append(names, id.table.Name), append(owners, string(id.parent))
		}
	}
	m.wantChildren = m.wantChildren[:0]
	if len(wanted) > 0 {
		batch.Queue(`SELECT m.tbl, m.owner, m.fields::text, m.key FROM unnest($1::text[], $2::text[]) AS w(tbl, owner)
			JOIN mirror m ON m.tbl = w.tbl COLLATE "C" AND m.owner = w.owner COLLATE "C" WHERE m.owner IS NOT NULL ORDER BY m.tbl, m.key`, names, owners)
	}
	return wanted, tables
}

func (m *Mirror) readChildren(results pgx.BatchResults, wanted map[ownerID]struct{}, tables map[string]*cdc.Table, found func(*cdc.Table, cdc.Row)) error {
	for id := range wanted {
		m.children[id] = nil
	}
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		table := tables[string(raw[0])]
		row, err := parseRow(table, cdc.Key(raw[3]), raw[2], m.keys)
		if err != nil {
			return err
		}
		id := ownerID{table, cdc.Key(raw[1])}
		m.children[id] = append(m.children[id], row)
		found(table, row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	return nil
}

// lookup says what is known of a row without asking the store.
func (m *Mirror) lookup(id rowID) (cdc.Row, bool) {
	if row, ok := m.batch[id]; ok {
		return row, true
	}
	if row, ok := m.hot.get(id); ok {
		return row, true
	}
	_, absent := m.absent[id]
	return nil, absent
}

// Row returns the row as of now in the batch, or nil.
func (m *Mirror) Row(table *cdc.Table, key cdc.Key) cdc.Row {
	id := rowID{table, key}
	row, ok := m.lookup(id)
	if !ok {
		m.Want(mapping.Ref{Table: table, Key: key})
		if err := m.Load(func(*cdc.Table, cdc.Row) {}); err != nil {
			m.err = err
			return nil
		}
		row, _ = m.lookup(id)
	}
	return row
}

// Children returns the rows of table that belong to the parent as of now in the batch, in key order.
func (m *Mirror) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	id := ownerID{table, parent}
	if _, ok := m.children[id]; !ok {
		m.Want(mapping.Ref{Table: table, Key: parent, By: by})
		if err := m.Load(func(*cdc.Table, cdc.Row) {}); err != nil {
			m.err = err
			return nil
		}
	}
	if len(m.children[id]) == 0 && len(m.owned) == 0 {
		return nil
	}
	rows := map[cdc.Key]cdc.Row{}
	for _, row := range m.children[id] {
		if key, err := table.KeyOf(row); err == nil {
			rows[key] = row
		}
	}
	for changed, row := range m.owned {
		if changed.table != table {
			continue
		}
		delete(rows, changed.key)
		if row != nil && row[by].Kind == cdc.Text && row[by].Text == string(parent) {
			rows[changed.key] = row
		}
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

// Err returns the first failure to fetch a row since Begin. A batch that has one must not be committed.
func (m *Mirror) Err() error { return m.err }

// Apply makes one resolved change visible to the rest of the batch.
func (m *Mirror) Apply(c *cdc.Change) {
	id, row := rowID{c.Relation.Table, c.Key}, c.New
	if c.Op == cdc.Delete {
		row = nil
	}
	m.batch[id] = row
	if _, owned := m.owners[c.Relation.Table]; owned {
		m.owned[id] = row
	}
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
