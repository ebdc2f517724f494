package outbox

import (
	"github.com/iam-relay/iam-relay/cdc"
)

// Load fetches everything wanted in one round trip and calls found, if not nil, for each row. It returns ErrFull if the rows do not fit
// into memory.
func (m *Mirror) Load(found func(*cdc.Table, cdc.Row)) error { return m.load(m.limits.Batch, found) }

func (m *Mirror) load(limit int, found func(*cdc.Table, cdc.Row)) error {
	if m.bytes > limit {
		m.wantRows, m.wantChildren, m.wantBefore = m.wantRows[:0], m.wantChildren[:0], m.wantBefore[:0]
		return ErrFull
	}
	l := loading{Mirror: m, limit: limit, found: found}
	var wanted []Wanted
	if len(m.wantRows) > 0 {
		wanted = append(wanted, l.rows(m.wantRows))
	}
	if len(m.wantChildren) > 0 {
		wanted = append(wanted, l.childrenOf(WantChildren, m.wantChildren, m.children))
	}
	if len(m.wantBefore) > 0 {
		wanted = append(wanted, l.childrenOf(WantChildrenBefore, m.wantBefore, m.before))
	}
	if len(wanted) == 0 {
		return nil
	}
	m.wantRows, m.wantChildren, m.wantBefore = m.wantRows[:0], m.wantChildren[:0], m.wantBefore[:0]
	if err := m.store.Read(m.ctx, wanted...); err != nil {
		return err
	}
	if l.full {
		return ErrFull
	}
	return nil
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

// rows pins the wanted rows, and notes which do not exist.
func (l *loading) rows(ids []rowID) Wanted {
	wanted := make(map[StoredKey]rowID, len(ids))
	var keys []StoredKey
	for _, id := range ids {
		stored := StoredKey{id.table.Name, storedKey(id.key)}
		if _, twice := wanted[stored]; !twice {
			wanted[stored] = id
			keys = append(keys, stored)
		}
	}
	return Wanted{Kind: WantRows, Keys: keys, Row: func(r StoredRow) error {
		if !l.fits(len(r.Fields)) {
			return nil
		}
		id := wanted[r.StoredKey]
		row, err := parseRow(id.table, r.Key, r.Fields, l.Mirror.keys)
		if err != nil {
			return err
		}
		delete(wanted, r.StoredKey)
		l.hot.put(id, row)
		l.pin(id, row)
		l.keep(id.table, row)
		return nil
	}, Done: func() {
		if l.full {
			return
		}
		for _, id := range wanted {
			l.absent[id] = struct{}{}
			l.bytes += entryBytes(id.key, nil)
		}
	}}
}

// childrenOf adds the rows of each wanted parent to known, in the order in which they come.
func (l *loading) childrenOf(kind WantedKind, ids []parentID, known map[parentID][]cdc.Row) Wanted {
	wanted, children := make(map[StoredKey]parentID, len(ids)), make(map[parentID][]cdc.Row, len(ids))
	var keys []StoredKey
	for _, id := range ids {
		stored := StoredKey{id.table.Name, storedKey(id.parent)}
		if _, twice := wanted[stored]; !twice {
			wanted[stored], children[id] = id, nil
			keys = append(keys, stored)
		}
	}
	kept := 0
	return Wanted{Kind: kind, Keys: keys, Row: func(r StoredRow) error {
		if !l.fits(len(r.Fields)) {
			clear(children)
			return nil
		}
		id := wanted[StoredKey{r.Table, *r.Parent}]
		row, err := parseRow(id.table, r.Key, r.Fields, l.Mirror.keys)
		if err != nil {
			return err
		}
		children[id] = append(children[id], row)
		kept += entryBytes("", row)
		l.bytes += entryBytes("", row)
		l.keep(id.table, row)
		return nil
	}, Done: func() {
		if l.full { // no parent is known to be complete
			l.bytes -= kept
			return
		}
		for id, rows := range children {
			known[id] = rows
			l.bytes += entryBytes(id.parent, nil)
		}
	}}
}
