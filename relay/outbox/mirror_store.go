package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// MirrorStore reads the mirror as it is stored.
type MirrorStore interface {
	// Read reads what is wanted in one round trip, in the order of its arguments.
	Read(ctx context.Context, wanted ...Wanted) error
	// Page calls each for rows of a table, in the order of their keys, until it returns false.
	Page(ctx context.Context, p MirrorPage, each func(StoredRow) bool) error
}

// StoredKey is the key of a mirrored row, or of its parent, as it is stored: see storedKey.
type StoredKey struct{ Table, Key string }

// StoredRow is a mirrored row as it is stored.
type StoredRow struct {
	StoredKey
	Parent *string // the stored key of the parent; nil if the row has none
	Fields []byte  // JSON; of a row that was read, valid only until the callback returns
}

// WantedKind is what the keys of Wanted identify.
type WantedKind uint8

const (
	WantRows           WantedKind = iota // the rows themselves
	WantChildren                         // their parents; the rows come in key order
	WantChildrenBefore                   // the same, as before the large transaction that is being written
)

// Wanted are rows to read. The keys are distinct.
type Wanted struct {
	Kind WantedKind
	Keys []StoredKey
	Row  func(StoredRow) error
	Done func() // after the last row
}

// MirrorPage is a range of a table's rows.
type MirrorPage struct {
	Table    string
	After    string // the key that precedes the page
	First    bool   // from the first row on
	Limit    int
	KeysOnly bool // without the fields of rows whose stored key is the whole key
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// mirrorTable is the MirrorStore of a connection or a transaction.
type mirrorTable struct{ querier }

// wantedSQL selects table, key, parent and fields of what is wanted. mirror_before has the rows that a large transaction has changed.
var wantedSQL = map[WantedKind]string{
	WantRows: `SELECT m.table_name, m.key, NULL, m.fields::text FROM unnest($1::text[], $2::text[]) AS w(table_name, key)
		JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.key = w.key COLLATE "C"`,
	WantChildren: `SELECT m.table_name, m.key, m.parent, m.fields::text FROM unnest($1::text[], $2::text[]) AS w(table_name, parent)
		JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.parent = w.parent COLLATE "C" WHERE m.parent IS NOT NULL ORDER BY m.table_name, m.key`,
	WantChildrenBefore: `WITH w AS (SELECT * FROM unnest($1::text[], $2::text[]) AS w(table_name, parent))
		SELECT m.table_name, m.key, m.parent, m.fields::text FROM w JOIN mirror m ON m.table_name = w.table_name COLLATE "C" AND m.parent = w.parent COLLATE "C"
		WHERE m.parent IS NOT NULL AND NOT EXISTS (SELECT FROM mirror_before f WHERE f.key = m.key AND f.table_name = m.table_name)
		UNION ALL
		SELECT f.table_name, f.key, f.parent, f.fields::text FROM w JOIN mirror_before f ON f.parent = w.parent COLLATE "C" AND f.table_name = w.table_name COLLATE "C"
		ORDER BY 1, 2`,
}

func (m mirrorTable) Read(ctx context.Context, wanted ...Wanted) error {
	batch := &pgx.Batch{}
	for i := range wanted {
		tables, keys := columnsOf(wanted[i].Keys)
		batch.Queue(wantedSQL[wanted[i].Kind], tables, keys)
	}
	results := m.SendBatch(ctx, batch)
	for i := range wanted {
		if err := readWanted(results, &wanted[i]); err != nil {
			_ = results.Close() // it repeats the error
			return err
		}
	}
	return results.Close()
}

func readWanted(results pgx.BatchResults, w *Wanted) error {
	rows, err := results.Query()
	if err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		row := StoredRow{StoredKey: StoredKey{string(raw[0]), string(raw[1])}, Fields: raw[3]}
		if raw[2] != nil {
			parent := string(raw[2])
			row.Parent = &parent
		}
		if err := w.Row(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the mirror: %w", err)
	}
	w.Done()
	return nil
}

func (m mirrorTable) Page(ctx context.Context, p MirrorPage, each func(StoredRow) bool) error {
	fields, from := "fields::text", ">"
	if p.KeysOnly {
		// A key that is stored as a hash must be computed from the row.
		fields = fmt.Sprintf("CASE WHEN octet_length(key) > %d THEN fields::text ELSE '' END", maxIndexed)
	}
	if p.First {
		from = ">="
	}
	rows, err := m.Query(ctx, `SELECT key, `+fields+` FROM mirror WHERE table_name = $1 AND key `+from+` $2 COLLATE "C" ORDER BY key LIMIT $3`, p.Table, p.After, p.Limit)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		raw := rows.RawValues()
		if !each(StoredRow{StoredKey: StoredKey{p.Table, string(raw[0])}, Fields: raw[1]}) {
			rows.Close()
			break
		}
	}
	return rows.Err()
}

// columnsOf returns the tables and the keys, for unnest.
func columnsOf(ids []StoredKey) (tables, keys []string) {
	tables, keys = make([]string, len(ids)), make([]string, len(ids))
	for i, id := range ids {
		tables[i], keys[i] = id.Table, id.Key
	}
	return tables, keys
}
