package outbox

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Load fetches everything wanted in one round trip and hands each row that it found to found. It returns ErrFull if not all of
// it fits into memory.
func (m *Mirror) Load(found func(*cdc.Table, cdc.Row)) error { return m.load(mirrorBatch, found) }

// storedID is a row as the store knows it.
type storedID struct{ table, key string }

func (m *Mirror) load(limit int, found func(*cdc.Table, cdc.Row)) (err error) {
	if m.bytes > limit {
		m.wantRows, m.wantChildren, m.wantFormer = m.wantRows[:0], m.wantChildren[:0], m.wantFormer[:0]
		return ErrFull
	}
	if !m.Wanting() {
		return nil
	}
	batch := &pgx.Batch{}
	rows, children, former := m.queueRows(batch), m.queueChildren(batch), m.queueFormer(batch)
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
	if len(former) > 0 {
		if err := l.readChildren(results, former, m.former); err != nil {
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

func (m *Mirror) queueChildren(batch *pgx.Batch) map[storedID]ownerID {
	wanted, names, owners := distinct(m.wantChildren)
	m.wantChildren = m.wantChildren[:0]
	if len(wanted) > 0 {
		batch.Queue(`SELECT m.table_name, m.parent, m.fields::text, m.key FROM unnest($1::text[], $2::text[]) AS w(table_name, parent)
			JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.parent = w.parent COLLATE "C" WHERE m.parent IS NOT NULL ORDER BY m.table_name, m.key`, names, owners)
	}
	return wanted
}

// distinct leaves out what is wanted twice.
func distinct(ids []ownerID) (wanted map[storedID]ownerID, names, owners []string) {
	wanted = make(map[storedID]ownerID, len(ids))
	for _, id := range ids {
		stored := storedID{id.table.Name, storedKey(id.parent)}
		if _, twice := wanted[stored]; !twice {
			wanted[stored] = id
			names, owners = append(names, stored.table), append(owners, stored.key)
		}
	}
	return wanted, names, owners
}

// loading is one load. Once it is full, it reads what still comes without keeping it.
type loading struct {
	*Mirror
	limit int
	full  bool
	found func(*cdc.Table, cdc.Row)
}

// fits reports whether a row whose stored text has so many bytes may still be kept.
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

// readChildren puts the rows of each owner into known, in the order in which they come.
func (l *loading) readChildren(results pgx.BatchResults, wanted map[storedID]ownerID, known map[ownerID][]cdc.Row) error {
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	defer rows.Close()
	before, children := l.bytes, make(map[ownerID][]cdc.Row, len(wanted))
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
	if l.full { // of none it is known whether all rows have come
		l.bytes = before
		return nil
	}
	for id, rows := range children {
		known[id] = rows
		l.bytes += entryBytes(id.parent, nil)
	}
	return nil
}
