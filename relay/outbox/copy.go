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
	// Known: it holds the rows of the table, under the keys that they have in it now.
	Known bool
	// Lacking are the columns, of those that the database has, whose values it does not hold.
	Lacking []int
	// Fingerprint is what the catalogue said when it was last read or compared; empty is unknown.
	Fingerprint string
}

// Mirrored looks what the mirror holds of the tables. has reports whether the database has a column; owners are the columns by
// which rows must be found.
//
// What is not mapped, or not in the database, is not followed: it is struck off, so that it is missing when it is back.
func (l *Leader) Mirrored(ctx context.Context, tables []*cdc.Table, owners map[*cdc.Table]int, has func(t *cdc.Table, column int) bool) ([]Mirrored, error) {
	held, err := l.store.mirrored(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Mirrored, len(tables))
	followed := map[string][]string{}
	for i, t := range tables {
		m := Mirrored{Table: t, Fingerprint: held[t.Name].fingerprint}
		_, m.Known = held[t.Name]
		follow := []string{}
		for column := range t.Columns {
			if !has(t, column) {
				continue
			}
			if tag := columnTag(t, owners, column); slices.Contains(held[t.Name].columns, tag) {
				follow = append(follow, tag)
			} else {
				m.Lacking = append(m.Lacking, column)
				m.Known = m.Known && column >= t.KeyColumns
			}
		}
		all[i], followed[t.Name] = m, follow
	}
	return all, l.strike(ctx, held, followed)
}

// strike takes off the registry what is not followed.
func (l *Leader) strike(ctx context.Context, held map[string]holding, followed map[string][]string) error {
	batch := &pgx.Batch{}
	for name, h := range held {
		switch follow, mapped := followed[name]; {
		case !mapped:
			batch.Queue(`DELETE FROM mirror WHERE tbl = $1`, name)
			batch.Queue(`DELETE FROM mirror_table WHERE tbl = $1`, name)
		case len(follow) < len(h.columns): // the rows stay: the log may still have changes of them
			batch.Queue(`UPDATE mirror_table SET columns = $2 WHERE tbl = $1`, name, follow)
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	l.queueFence(batch)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("strike off what the mirror no longer follows: %w", fenced(err))
	}
	return nil
}

// holding is a row of the registry.
type holding struct {
	columns     []string // tags
	fingerprint string
}

func (s *Store) mirrored(ctx context.Context) (map[string]holding, error) {
	rows, err := s.pool.Query(ctx, `SELECT tbl, columns, fingerprint FROM mirror_table`)
	if err != nil {
		return nil, fmt.Errorf("read what the mirror holds: %w", err)
	}
	held := map[string]holding{}
	var name string
	var h holding
	if _, err := pgx.ForEachRow(rows, []any{&name, &h.columns, &h.fingerprint}, func() error {
		held[name] = holding{slices.Clone(h.columns), h.fingerprint}
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
	tags := []string{}
	for column := range t.Columns {
		if has(t, column) {
			tags = append(tags, columnTag(t, owners, column))
		}
	}
	batch.Queue(`INSERT INTO mirror_table (tbl, columns, fingerprint) VALUES ($1, $2, $3)
		ON CONFLICT (tbl) DO UPDATE SET columns = excluded.columns, fingerprint = excluded.fingerprint`, t.Name, tags, fingerprint)
}

// SaveFingerprints records what the catalogue says of tables whose fingerprints were unknown.
func (l *Leader) SaveFingerprints(ctx context.Context, prints map[string]string) error {
	batch := &pgx.Batch{}
	for table, print := range prints {
		batch.Queue(`UPDATE mirror_table SET fingerprint = $2 WHERE tbl = $1`, table, print)
	}
	l.queueFence(batch)
	if err := l.write.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("note what the catalogue says of the mapped tables: %w", fenced(err))
	}
	return nil
}

// Copy fills the mirror with whole tables, in one transaction.
type Copy struct {
	leader *Leader
	tx     pgx.Tx
	owners map[*cdc.Table]int
	chunk  Chunk
}

const (
	// copyRows and copyBytes bound what is written at a time, but for one row that is larger.
	copyRows  = 1000
	copyBytes = 2 << 20
)

// BeginCopy starts one.
func (l *Leader) BeginCopy(ctx context.Context, owners map[*cdc.Table]int) (*Copy, error) {
	tx, err := l.write.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("begin the copy: %w", err)
	}
	return &Copy{leader: l, tx: tx, owners: owners}, nil
}

// Table replaces what the mirror holds of t by the rows that read hands over. Only the columns that has reports are promised
// to be held from then on. The fingerprint was taken before the rows were read.
func (c *Copy) Table(ctx context.Context, t *cdc.Table, has func(t *cdc.Table, column int) bool, fingerprint string, read func(each func(cdc.Row) error) error) (int, error) {
	if _, err := c.tx.Exec(ctx, `DELETE FROM mirror WHERE tbl = $1`, t.Name); err != nil {
		return 0, fmt.Errorf("clear the mirror of %s: %w", t.Name, err)
	}
	n := 0
	err := read(func(row cdc.Row) error {
		key, err := t.KeyOf(row)
		if err != nil {
			return err
		}
		c.chunk.upsert(t, key, row, c.owners, c.leader.store.keys)
		if n++; len(c.chunk.upsertKeys) < copyRows && c.chunk.Bytes < copyBytes {
			return nil
		}
		return c.flush(ctx)
	})
	if err == nil {
		err = c.flush(ctx)
	}
	if err != nil {
		return n, fmt.Errorf("copy %s: %w", t.Name, err)
	}
	batch := &pgx.Batch{}
	queueHeld(batch, t, c.owners, has, fingerprint)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return n, fmt.Errorf("record what the mirror holds of %s: %w", t.Name, err)
	}
	return n, nil
}

func (c *Copy) flush(ctx context.Context) error {
	batch := &pgx.Batch{}
	c.chunk.queue(batch, c.leader.store.keys)
	c.chunk = Chunk{}
	if batch.Len() == 0 {
		return nil
	}
	return c.tx.SendBatch(ctx, batch).Close()
}

// Keep drops what the mirror holds of tables that are no longer mapped.
func (c *Copy) Keep(ctx context.Context, tables []*cdc.Table) error {
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	for _, table := range []string{"mirror", "mirror_table"} {
		if _, err := c.tx.Exec(ctx, `DELETE FROM `+table+` WHERE tbl <> ALL ($1)`, names); err != nil {
			return fmt.Errorf("drop unmapped tables from the mirror: %w", err)
		}
	}
	return nil
}

// Start commits a first copy together with the position that it is consistent with.
func (c *Copy) Start(ctx context.Context, p cdc.Position) error {
	tag, err := c.tx.Exec(ctx, `UPDATE position SET state = 'streaming', system_id = $2, timeline = $3, database = $4, slot = $5,
		lsn = $6::text::pg_lsn, updated = now() WHERE epoch = $1`, c.leader.epoch, p.SystemID, p.Timeline, p.Database, p.Slot, p.LSN.String())
	if err != nil {
		return fmt.Errorf("store the position: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrFenced
	}
	return c.Commit(ctx)
}

// Commit ends a copy that does not move the position.
func (c *Copy) Commit(ctx context.Context) error {
	var epoch int64
	if err := c.tx.QueryRow(ctx, `SELECT epoch FROM position FOR SHARE`).Scan(&epoch); err != nil {
		return fmt.Errorf("check the epoch: %w", err)
	}
	if epoch != c.leader.epoch {
		return ErrFenced
	}
	if err := c.tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit the copy: %w", err)
	}
	return nil
}

// Rollback gives a copy up; after Commit it does nothing.
func (c *Copy) Rollback(ctx context.Context) error {
	if err := c.tx.Rollback(ctx); err != nil && err != pgx.ErrTxClosed { //nolint:errorlint // pgx returns it bare
		return fmt.Errorf("undo the copy: %w", err)
	}
	return nil
}
