package outbox

import (
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
	return m.scan(ctx, t, "fields::text", func(r scanned) error {
		row, err := parseRow(t, r.key, r.fields, m.keys)
		if err != nil {
			return err
		}
		key, err := fullKey(t, r.key, row)
		if err != nil {
			return err
		}
		return each(key, row)
	})
}

// EachKey calls each for the key of every mirrored row of a table, in the order of the stored keys.
func (m *Mirror) EachKey(ctx context.Context, t *cdc.Table, each func(cdc.Key) error) error {
	// A key that is stored as a hash must be computed from the row.
	return m.scan(ctx, t, fmt.Sprintf("CASE WHEN octet_length(key) > %d THEN fields::text ELSE '' END", maxIndexed), func(r scanned) error {
		var row cdc.Row
		if len(r.fields) > 0 {
			var err error
			if row, err = parseRow(t, r.key, r.fields, m.keys); err != nil {
				return err
			}
		}
		key, err := fullKey(t, r.key, row)
		if err != nil {
			return err
		}
		return each(key)
	})
}

// scanned is a stored row.
type scanned struct {
	key    string
	fields []byte
}

// scan reads a table in pages, so that each may use the connection.
func (m *Mirror) scan(ctx context.Context, t *cdc.Table, fields string, each func(scanned) error) error {
	limit := scanRows
	for after, from := "", ">="; ; from = ">" {
		page, size, more, err := m.page(ctx, `SELECT key, `+fields+` FROM mirror WHERE table_name = $1 AND key `+from+` $2 COLLATE "C" ORDER BY key LIMIT $3`, t.Name, after, limit)
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
		after = page[len(page)-1].key
		switch { // avoid reading rows beyond the page
		case size > scanBytes:
			limit = len(page)
		case size < scanBytes/2:
			limit = min(2*limit, scanRows)
		}
	}
}

// page reads up to limit rows, and fewer if they exceed scanBytes; size then includes the first row left out.
func (m *Mirror) page(ctx context.Context, sql, table, after string, limit int) (page []scanned, size int, more bool, err error) {
	rows, err := m.query.Query(ctx, sql, table, after, limit)
	if err != nil {
		return nil, 0, false, err
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		if size += len(raw[0]) + len(raw[1]); size > scanBytes && len(page) > 0 {
			rows.Close()
			return page, size, true, rows.Err()
		}
		page = append(page, scanned{string(raw[0]), append([]byte(nil), raw[1]...)})
	}
	return page, size, len(page) == limit, rows.Err()
}
