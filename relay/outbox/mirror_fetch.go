package outbox

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Load fetches everything wanted in one round trip and calls found, if not nil, for each row. It returns ErrFull if the rows do not fit
// into memory.
func (m *Mirror) Load(found func(*cdc.Table, cdc.Row)) error { return m.load(mirrorBatch, found) }

// storedID identifies a row, or a parent, by its stored key.
type storedID struct{ table, key string }

func (m *Mirror) load(limit int, found func(*cdc.Table, cdc.Row)) (err error) {
	if m.bytes > limit {
		m.wantRows, m.wantChildren, m.wantBefore = m.wantRows[:0], m.wantChildren[:0], m.wantBefore[:0]
		return ErrFull
	}
	if !m.Wanting() {
		return nil
	}
	batch := &pgx.Batch{}
	rows, children, before := m.queueRows(batch), m.queueChildren(batch), m.queueBefore(batch)
	results := m.query.SendBatch(m.ctx, batch)
	defer func() { err = errors.Join(err, results.Close()) }()
	l := loading{Mirror: m, limit: limit, found: found}
	if len(rows) > 0 {
		if err := l.readRows(results, rows); err != nil {
			return err
		}
	}
	if len(children) > 0 {
		if err := l.readChildren(results, children, m.children); err != nil {
			return err
		}
	}
	if len(before) > 0 {
		if err := l.readChildren(results, before, m.before); err != nil {
			return err
		}
	}
	if l.full {
		return ErrFull
	}
	return nil
}

func (m *Mirror) queueRows(batch *pgx.Batch) map[storedID]rowID {
	wanted := make(map[storedID]rowID, len(m.wantRows))
	var names, keys []string
	for _, id := range m.wantRows {
		stored := storedID{id.table.Name, storedKey(id.key)}
		if _, twice := wanted[stored]; !twice {
			wanted[stored] = id
			names, keys = append(names, stored.table), append(keys, stored.key)
		}
	}
	m.wantRows = m.wantRows[:0]
	if len(wanted) > 0 {
		batch.Queue(`SELECT m.table_name, m.key, m.fields::text FROM unnest($1::text[], $2::text[]) AS w(table_name, key)
			JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.key = w.key COLLATE "C"`, names, keys)
	}
	return wanted
}

func (m *Mirror) queueChildren(batch *pgx.Batch) map[storedID]parentID {
	wanted, names, parents := distinct(m.wantChildren)
	m.wantChildren = m.wantChildren[:0]
	if len(wanted) > 0 {
		batch.Queue(`SELECT m.table_name, m.parent, m.fields::text, m.key FROM unnest($1::text[], $2::text[]) AS w(table_name, parent)
			JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.parent = w.parent COLLATE "C" WHERE m.parent IS NOT NULL ORDER BY m.table_name, m.key`, names, parents)
	}
	return wanted
}

// distinct removes duplicates.
func distinct(ids []parentID) (wanted map[storedID]parentID, names, parents []string) {
	wanted = make(map[storedID]parentID, len(ids))
	for _, id := range ids {
		stored := storedID{id.table.Name, storedKey(id.parent)}
		if _, twice := wanted[stored]; !twice {
			wanted[stored] = id
			names, parents = append(names, stored.table), append(parents, stored.key)
		}
	}
	return wanted, names, parents
}

// loading is the state of one load. Once it is full, it discards further rows.
type loading struct {
	*Mirror
	limit int
	full  bool
	found func(*cdc.Table, cdc.Row)
}

// fits reports whether a row with so many bytes of stored text can be kept.
func (l *loading) fits(text int) bool {
	l.full = l.full || l.bytes > 0 && l.bytes+text > l.limit
	return !l.full
}

func (l *loading) keep(table *cdc.Table, row cdc.Row) {
	if l.found != nil {
		l.found(table, row)
	}
}

func (l *loading) readRows(results pgx.BatchResults, wanted map[storedID]rowID) error {
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		if !l.fits(len(raw[2])) {
			continue
		}
		stored := storedID{string(raw[0]), string(raw[1])}
		id := wanted[stored]
		row, err := parseRow(id.table, stored.key, raw[2], l.Mirror.keys)
		if err != nil {
			return err
		}
		delete(wanted, stored)
		l.hot.put(id, row)
		l.pin(id, row)
		l.keep(id.table, row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	if l.full {
		return nil
	}
	for _, id := range wanted {
		l.absent[id] = struct{}{}
		l.bytes += entryBytes(id.key, nil)
	}
	return nil
}

// readChildren adds the rows of each parent to known, in the order of the result.
func (l *loading) readChildren(results pgx.BatchResults, wanted map[storedID]parentID, known map[parentID][]cdc.Row) error {
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	defer rows.Close()
	before, children := l.bytes, make(map[parentID][]cdc.Row, len(wanted))
	for _, id := range wanted {
		children[id] = nil
	}
	for rows.Next() {
		raw := rows.RawValues()
		if !l.fits(len(raw[2])) {
			clear(children)
			continue
		}
		id := wanted[storedID{string(raw[0]), string(raw[1])}]
		row, err := parseRow(id.table, string(raw[3]), raw[2], l.Mirror.keys)
		if err != nil {
			return err
		}
		children[id] = append(children[id], row)
		l.bytes += entryBytes("", row)
		l.keep(id.table, row)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	if l.full { // no parent is known to be complete
		l.bytes = before
		return nil
	}
	for id, rows := range children {
		known[id] = rows
		l.bytes += entryBytes(id.parent, nil)
	}
	return nil
}
