package outbox

import (
	"bytes"
	"context"
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
)

const (
	// scanRows and scanBytes bound a page of a scan; a single larger row is still read.
	scanRows  = 1000
	scanBytes = 2 << 20
)

// EachRow calls each for every mirrored row of a table, in the order of the stored keys, in bounded memory.
func (m *Mirror) EachRow(ctx context.Context, t *cdc.Table, each func(key cdc.Key, row cdc.Row) error) error {
	return m.scan(ctx, t, false, func(r StoredRow) error {
		row, err := parseRow(t, r.Key, r.Fields, m.keys)
		if err != nil {
			return err
		}
		key, err := fullKey(t, r.Key, row)
		if err != nil {
			return err
		}
		return each(key, row)
	})
}

// EachKey calls each for the key of every mirrored row of a table, in the order of the stored keys.
func (m *Mirror) EachKey(ctx context.Context, t *cdc.Table, each func(cdc.Key) error) error {
	return m.scan(ctx, t, true, func(r StoredRow) error {
		var row cdc.Row
		if len(r.Fields) > 0 {
			var err error
			if row, err = parseRow(t, r.Key, r.Fields, m.keys); err != nil {
				return err
			}
		}
		key, err := fullKey(t, r.Key, row)
		if err != nil {
			return err
		}
		return each(key)
	})
}

// scan reads a table in pages, so that each may use the connection.
func (m *Mirror) scan(ctx context.Context, t *cdc.Table, keysOnly bool, each func(StoredRow) error) error {
	next := MirrorPage{Table: t.Name, First: true, Limit: scanRows, KeysOnly: keysOnly}
	for {
		page, size, more, err := m.page(ctx, next)
		if err != nil {
			return fmt.Errorf("read the mirror of %s: %w", t.Name, err)
		}
		for i := range page {
			if err := each(page[i]); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
		next.First, next.After = false, page[len(page)-1].Key
		switch { // avoid reading rows beyond the page
		case size > scanBytes:
			next.Limit = len(page)
		case size < scanBytes/2:
			next.Limit = min(2*next.Limit, scanRows)
		}
	}
}

// page reads the rows, and fewer if they exceed scanBytes; size then includes the first row left out.
func (m *Mirror) page(ctx context.Context, p MirrorPage) (page []StoredRow, size int, more bool, err error) {
	err = m.store.Page(ctx, p, func(r StoredRow) bool {
		if size += len(r.Key) + len(r.Fields); size > scanBytes && len(page) > 0 {
			more = true
			return false
		}
		r.Fields = bytes.Clone(r.Fields)
		page = append(page, r)
		return true
	})
	return page, size, more || len(page) == p.Limit, err
}
