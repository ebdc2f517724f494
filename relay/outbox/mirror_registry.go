package outbox

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
)

// Mirrored says what the mirror holds of a mapped table.
type Mirrored struct {
	Table *cdc.Table
	// Known: it holds the rows of the table, under the keys that they have in it now; it has none of a table that was absent.
	Known bool
	// Lacking are the columns, of those that the database has, that were not mapped before: the mirror does not have their values.
	Lacking []int
	// Revived are the columns, of those that the database has, that were mapped before and absent for a while, or until now. The
	// mirror has the values from before.
	Revived []int
	// Fingerprint is what the catalogue said when it was last read or compared; empty for a table that was absent.
	Fingerprint string
	// Suspect: the rows may differ from the table's although the catalogue does not show it.
	Suspect bool
}

// Mirrored reads what the mirror holds of the tables. has reports whether the database has a column; owners are the columns by
// which rows must be found. What the database does not have is registered as absent, so that its return is noticed.
func (l *Leader) Mirrored(ctx context.Context, tables []*cdc.Table, owners map[*cdc.Table]int, has func(t *cdc.Table, column int) bool) ([]Mirrored, error) {
	held, err := l.store.mirrored(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Mirrored, len(tables))
	batch := &pgx.Batch{}
	for i, t := range tables {
		h, registered := held[t.Name]
		m := Mirrored{Table: t, Fingerprint: h.fingerprint, Suspect: h.suspect, Known: registered}
		columns, absent := []string{}, []string{}
		for column := range t.Columns {
			tag := columnTag(t, owners, column)
			there, missed := slices.Contains(h.columns, tag), slices.Contains(h.absent, tag)
			switch {
			case !has(t, column):
				absent = append(absent, tag)
			case missed:
				absent = append(absent, tag) // until it is compared
				m.Revived = append(m.Revived, column)
			case there:
				columns = append(columns, tag)
			default:
				m.Lacking = append(m.Lacking, column)
				m.Known = m.Known && column >= t.KeyColumns
			}
		}
		all[i] = m
		if registered && (len(columns) < len(h.columns) || len(absent) > len(h.absent)) || !registered && len(absent) == len(t.Columns) {
			batch.Queue(`INSERT INTO mirror_table (table_name, columns, absent) VALUES ($1, $2, $3)
				ON CONFLICT (table_name) DO UPDATE SET columns = excluded.columns, absent = excluded.absent`, t.Name, columns, absent)
		}
		delete(held, t.Name)
	}
	for name := range held { // no longer mapped
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
		return fmt.Errorf("register what the mirror holds: %w", fenced(err))
	}
	return nil
}

// Suspect records that the mirror's rows of the tables must be compared with the database's before they are relied on.
func (l *Leader) Suspect(ctx context.Context, tables ...*cdc.Table) error {
	batch := &pgx.Batch{}
	for _, t := range tables {
		batch.Queue(`UPDATE mirror_table SET suspect = true WHERE table_name = $1 AND NOT suspect`, t.Name)
	}
	return l.register(ctx, batch)
}

// Rename gives the rows of a table that has been renamed in the database and in the mapping to its new name. The tags begin with the
// schema.
func (l *Leader) Rename(ctx context.Context, from string, to *cdc.Table) error {
	batch := &pgx.Batch{}
	batch.Queue(`UPDATE mirror SET table_name = $2 WHERE table_name = $1`, from, to.Name)
	batch.Queue(`UPDATE mirror_table SET table_name = $2,
		columns = ARRAY(SELECT $3 || substr(tag, strpos(tag, '.')) FROM unnest(columns) AS tag),
		absent = ARRAY(SELECT $3 || substr(tag, strpos(tag, '.')) FROM unnest(absent) AS tag)
		WHERE table_name = $1`, from, to.Name, to.Schema)
	return l.register(ctx, batch)
}

// Relations returns which relation of the database the mirror's rows of each table are of, by the table's name.
func (s *Store) Relations(ctx context.Context) (map[string]uint32, error) {
	held, err := s.mirrored(ctx)
	if err != nil {
		return nil, err
	}
	relations := make(map[string]uint32, len(held))
	for name, h := range held {
		relations[name] = cdc.FingerprintRelation(h.fingerprint)
	}
	return relations, nil
}

// holding is a row of the registry.
type holding struct {
	columns, absent []string // tags
	fingerprint     string
	suspect         bool
}

func (s *Store) mirrored(ctx context.Context) (map[string]holding, error) {
	rows, err := s.pool.Query(ctx, `SELECT table_name, columns, absent, fingerprint, suspect FROM mirror_table`)
	if err != nil {
		return nil, fmt.Errorf("read what the mirror holds: %w", err)
	}
	held := map[string]holding{}
	var name string
	var h holding
	if _, err := pgx.ForEachRow(rows, []any{&name, &h.columns, &h.absent, &h.fingerprint, &h.suspect}, func() error {
		held[name] = holding{slices.Clone(h.columns), slices.Clone(h.absent), h.fingerprint, h.suspect}
		return nil
	}); err != nil {
		return nil, fmt.Errorf("read what the mirror holds: %w", err)
	}
	return held, nil
}

// columnTag names a table's column in the registry. That of a table which is read from another schema, or one that is hashed or secret
// from now on, or no longer, or by which rows are found, is another one, and is read again.
func columnTag(t *cdc.Table, owners map[*cdc.Table]int, column int) string {
	tag := t.Schema + "." + t.Columns[column].Name
	if t.Columns[column].Hash {
		tag += "#"
	}
	if t.Columns[column].Secret {
		tag += "!"
	}
	if owner, owned := owners[t]; owned && owner == column {
		tag += "^"
	}
	return tag
}

// queueHeld records that the mirror holds the table with all columns that the database has.
func queueHeld(batch *pgx.Batch, t *cdc.Table, owners map[*cdc.Table]int, has func(t *cdc.Table, column int) bool, fingerprint string) {
	columns, absent := []string{}, []string{}
	for column := range t.Columns {
		tag := columnTag(t, owners, column)
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

// SaveFingerprints records what the catalogue says of tables after changes that concern none of their rows.
func (l *Leader) SaveFingerprints(ctx context.Context, prints map[string]string) error {
	batch := &pgx.Batch{}
	for table, print := range prints {
		batch.Queue(`UPDATE mirror_table SET fingerprint = $2 WHERE table_name = $1`, table, print)
	}
	return l.register(ctx, batch)
}

// MoveFingerprint records a fingerprint that is like the one before it, unless that is not the recorded one.
func (s *Store) MoveFingerprint(ctx context.Context, table, before, now string) error {
	if _, err := s.pool.Exec(ctx, `UPDATE mirror_table SET fingerprint = $3 WHERE table_name = $1 AND fingerprint = $2`, table, before, now); err != nil {
		return fmt.Errorf("record what the catalogue says of the mapped tables: %w", err)
	}
	return nil
}

// keepAbsent lets the mirror keep what it has of columns that the new row lacks: when such a column is back, its values are compared
// with those from before.
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
