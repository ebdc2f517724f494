package outbox

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Mirrored describes what the mirror holds of a mapped table.
type Mirrored struct {
	Table *cdc.Table
	// Known reports whether the mirror holds the table's rows under their current keys. Of a table that did not exist it holds none.
	Known bool
	// Missing are the columns of the database that were not mapped before; the mirror does not have their values.
	Missing []int
	// Revived are the columns of the database that were mapped before but did not exist, or could not be read, for a while. The mirror
	// has their old values.
	Revived []int
	// Fingerprint is that of the table when it was last copied or compared; empty for a table that did not exist.
	Fingerprint string
	// Suspect: the rows may differ from the table although the fingerprint does not show it.
	Suspect bool
}

// Mirrored reads what the mirror holds of the tables. has reports whether the database has a column; parents are as for NewMirror. Columns
// that the database does not have are registered as absent, so that their return is noticed. Tables that are no longer mapped are
// removed.
func (l *Leader) Mirrored(ctx context.Context, tables []*cdc.Table, parents map[*cdc.Table]int, has func(t *cdc.Table, column int) bool) ([]Mirrored, error) {
	known, err := l.store.mirrored(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Mirrored, len(tables))
	batch := &pgx.Batch{}
	for i, t := range tables {
		r, registered := known[t.Name]
		m := Mirrored{Table: t, Fingerprint: r.fingerprint, Suspect: r.suspect, Known: registered}
		columns, absent := []string{}, []string{}
		for column := range t.Columns {
			tag := columnTag(t, parents, column)
			there, missed := slices.Contains(r.columns, tag), slices.Contains(r.absent, tag)
			switch {
			case !has(t, column):
				absent = append(absent, tag)
			case missed:
				absent = append(absent, tag) // until it is compared
				m.Revived = append(m.Revived, column)
			case there:
				columns = append(columns, tag)
			default:
				m.Missing = append(m.Missing, column)
				m.Known = m.Known && column >= t.KeyColumns
			}
		}
		all[i] = m
		if registered && (len(columns) < len(r.columns) || len(absent) > len(r.absent)) || !registered && len(absent) == len(t.Columns) {
			batch.Queue(`INSERT INTO mirror_table (table_name, columns, absent) VALUES ($1, $2, $3)
				ON CONFLICT (table_name) DO UPDATE SET columns = excluded.columns, absent = excluded.absent`, t.Name, columns, absent)
		}
		delete(known, t.Name)
	}
	for name := range known { // no longer mapped
		batch.Queue(`DELETE FROM mirror WHERE table_name = $1`, name)
		batch.Queue(`DELETE FROM mirror_table WHERE table_name = $1`, name)
	}
	return all, l.register(ctx, batch)
}

func (l *Leader) register(ctx context.Context, batch *pgx.Batch) error {
	if batch.Len() == 0 {
		return nil
	}
	l.queueFence(batch)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("update table mirror_table: %w", fenced(err))
	}
	return nil
}

// Suspect records that the mirrored rows of the tables must be compared with the database before they are relied on.
func (l *Leader) Suspect(ctx context.Context, tables ...*cdc.Table) error {
	batch := &pgx.Batch{}
	for _, t := range tables {
		batch.Queue(`UPDATE mirror_table SET suspect = true WHERE table_name = $1 AND NOT suspect`, t.Name)
	}
	return l.register(ctx, batch)
}

// Rename moves the rows of a table that was renamed, in the database and in the mapping, to its new name. It also replaces the schema at the
// beginning of the column tags.
func (l *Leader) Rename(ctx context.Context, from string, to *cdc.Table) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE mirror SET table_name = $2 WHERE table_name = $1`, from, to.Name)
	batch.Queue(`UPDATE mirror_table SET table_name = $2,
		columns = ARRAY(SELECT $3 || substr(tag, strpos(tag, '.')) FROM unnest(columns) AS tag),
		absent = ARRAY(SELECT $3 || substr(tag, strpos(tag, '.')) FROM unnest(absent) AS tag)
		WHERE table_name = $1`, from, to.Name, to.Schema)
	return l.register(ctx, batch)
}

// Relations returns the OID of the relation that each table's mirrored rows come from, by the table's name.
func (s *Store) Relations(ctx context.Context) (map[string]uint32, error) {
	known, err := s.mirrored(ctx)
	if err != nil {
		return nil, err
	}
	relations := make(map[string]uint32, len(known))
	for name, r := range known {
		relations[name] = cdc.FingerprintRelation(r.fingerprint)
	}
	return relations, nil
}

// registration is a row of mirror_table.
type registration struct {
	columns, absent []string // tags
	fingerprint     string
	suspect         bool
}

func (s *Store) mirrored(ctx context.Context) (map[string]registration, error) {
	rows, err := s.pool.Query(ctx, `SELECT table_name, columns, absent, fingerprint, suspect FROM mirror_table`)
	if err != nil {
		return nil, fmt.Errorf("read table mirror_table: %w", err)
	}
	known := map[string]registration{}
	var name string
	var r registration
	if _, err := pgx.ForEachRow(rows, []any{&name, &r.columns, &r.absent, &r.fingerprint, &r.suspect}, func() error {
		known[name] = registration{slices.Clone(r.columns), slices.Clone(r.absent), r.fingerprint, r.suspect}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read table mirror_table: %w", err)
	}
	return known, nil
}

// columnTag identifies a mirrored column by schema, name and how it is stored: # hashed, ! secret, ^ key of the parent. If any of these
// changes, the tag changes, and the column is read again.
func columnTag(t *cdc.Table, parents map[*cdc.Table]int, column int) string {
	tag := t.Schema + "." + t.Columns[column].Name
	if t.Columns[column].Hash {
		tag += "#"
	}
	if t.Columns[column].Secret {
		tag += "!"
	}
	if parent, ok := parents[t]; ok && parent == column {
		tag += "^"
	}
	return tag
}

// queueMirrorTable registers the table with all columns that the database has.
func queueMirrorTable(batch *pgx.Batch, t *cdc.Table, parents map[*cdc.Table]int, has func(t *cdc.Table, column int) bool, fingerprint string) {
	columns, absent := []string{}, []string{}
	for column := range t.Columns {
		tag := columnTag(t, parents, column)
		if has(t, column) {
			columns = append(columns, tag)
		} else {
			absent = append(absent, tag)
		}
	}
	batch.Queue(`INSERT INTO mirror_table (table_name, columns, absent, fingerprint) VALUES ($1, $2, $3, $4)
		ON CONFLICT (table_name) DO UPDATE SET columns = excluded.columns, absent = excluded.absent, fingerprint = excluded.fingerprint, suspect = false`,
		t.Name, columns, absent, fingerprint)
}

// SaveFingerprints stores new fingerprints of tables whose rows have not changed.
func (l *Leader) SaveFingerprints(ctx context.Context, prints map[string]string) error {
	batch := &pgx.Batch{}
	for table, print := range prints {
		batch.Queue(`UPDATE mirror_table SET fingerprint = $2 WHERE table_name = $1`, table, print)
	}
	return l.register(ctx, batch)
}

// MoveFingerprint replaces a stored fingerprint by an equivalent one, unless another one is stored meanwhile.
func (s *Store) MoveFingerprint(ctx context.Context, table, before, now string) error {
	if _, err := s.pool.Exec(ctx, `UPDATE mirror_table SET fingerprint = $3 WHERE table_name = $1 AND fingerprint = $2`, table, before, now); err != nil {
		return fmt.Errorf("update table mirror_table: %w", err)
	}
	return nil
}

// keepAbsent copies the values of columns that the new row lacks from the old row. If such a column comes back, its values are compared with
// these.
func keepAbsent(row, old cdc.Row) cdc.Row {
	kept := row
	for i := range row {
		if row[i].Kind != cdc.Absent || i >= len(old) || !old[i].Known() {
			continue
		}
		if &kept[0] == &row[0] {
			kept = slices.Clone(row)
		}
		kept[i] = old[i]
	}
	return kept
}
