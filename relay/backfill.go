package relay

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// backfill brings tables and columns that the mapping has gained into the mirror, consistently with the stream: a temporary
// slot's snapshot shows them as of one place in the log, and once ingest has reached that place they replace what the mirror
// has of their tables. Nothing is emitted for rows that were there before.
type backfill struct {
	snapshot *cdc.Snapshot
	catalog  *cdc.Catalog
	tables   []*cdc.Table        // to be read again
	unknown  map[*cdc.Table]bool // of these the mirror has nothing yet: their changes before the place are in the snapshot
	mapped   []*cdc.Table        // all
}

// passedBy reports whether the transaction lies beyond the snapshot.
func (b *backfill) passedBy(lsn cdc.LSN) bool { return b != nil && lsn >= b.snapshot.LSN }

// known leaves out the changes of tables that the mirror does not have yet.
func (b *backfill) known(changes []cdc.Change) []cdc.Change {
	if b == nil || len(b.unknown) == 0 {
		return changes
	}
	kept := changes[:0]
	for i := range changes {
		if !b.unknown[changes[i].Relation.Table] {
			kept = append(kept, changes[i])
		}
	}
	return kept
}

// complete finds what neither the log nor the mirror has of a new row: large values that an UPDATE left alone, of columns that
// the mirror is still to gain. The snapshot has them, or a later version; of a row that is gone by then nobody knows them.
func (b *backfill) complete(ctx context.Context, c *cdc.Change) error {
	unchanged := func(v cdc.Value) bool { return v.Kind == cdc.Unchanged }
	if b == nil || !slices.Contains(b.tables, c.Relation.Table) || !slices.ContainsFunc(c.New, unchanged) {
		return nil
	}
	key := make([]string, c.Relation.KeyColumns)
	for i := range key {
		key[i] = c.New[i].Text
	}
	row, err := b.snapshot.Row(ctx, c.Relation.Table, key)
	if err != nil {
		return err
	}
	for i := range c.New {
		if !unchanged(c.New[i]) {
			continue
		}
		if c.New[i] = (cdc.Value{}); row != nil {
			c.New[i] = row[i]
		}
	}
	return nil
}

// passBarrier copies what is missing once the stream has reached the snapshot's place.
func (in *ingest) passBarrier(ctx context.Context, lsn cdc.LSN) error {
	b := in.barrier
	if !b.passedBy(lsn) {
		return nil
	}
	if err := b.copy(ctx, in.leader, in.log, in.owners, nil); err != nil {
		return err
	}
	in.mirror.Reset()
	in.barrier = nil
	b.snapshot.Close()
	return in.readSubscriptions(ctx) // their tables may be among those
}

// copy reads the tables in the snapshot and puts them into the mirror; start is the position of a first copy, else nil.
func (b *backfill) copy(ctx context.Context, leader *outbox.Leader, log *slog.Logger, owners map[*cdc.Table]int, start *cdc.Position) error {
	began := time.Now()
	c, err := leader.BeginCopy(ctx, owners)
	if err != nil {
		return err
	}
	defer func() {
		// The end of ctx in a statement closes the connection, and that undoes the copy, too.
		if err := c.Rollback(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
			log.Warn("the copy's transaction did not end well", "err", err)
		}
	}()
	total := 0
	for _, t := range b.tables {
		if b.catalog.Relation(t.Name) == nil {
			continue
		}
		progress := copyProgress{log: log, table: t.Name, last: began}
		n, err := c.Table(ctx, t, b.has, func(each func(cdc.Row) error) error {
			return b.snapshot.Copy(ctx, t, func(row cdc.Row) error { progress.row(); return each(row) })
		})
		if err != nil {
			return err
		}
		total += n
	}
	if err := c.Keep(ctx, b.mapped); err != nil {
		return err
	}
	if start != nil {
		err = c.Start(ctx, *start)
	} else {
		err = c.Commit(ctx)
	}
	if err != nil {
		return err
	}
	log.Info("copied the mapped tables into the mirror", "tables", len(b.tables), "rows", total, "lsn", b.snapshot.LSN.String(),
		"took", time.Since(began).Round(time.Millisecond).String())
	return nil
}

// has reports whether the database has the column.
func (b *backfill) has(t *cdc.Table, column int) bool { return hasColumn(b.catalog, t, column) }

func hasColumn(catalog *cdc.Catalog, t *cdc.Table, column int) bool {
	r := catalog.Relation(t.Name)
	return r != nil && r.Types[column] != 0
}

// newBackfill takes a snapshot for what the mirror misses; nil if it misses nothing.
func (t *term) newBackfill(ctx context.Context, catalog *cdc.Catalog, owners map[*cdc.Table]int) (*backfill, error) {
	tables := t.rules.Tables()
	held, err := t.store.MirroredTables(ctx)
	if err != nil {
		return nil, &ingestError{err}
	}
	missing, err := t.leader.Missing(ctx, tables, owners, func(t *cdc.Table, c int) bool { return hasColumn(catalog, t, c) })
	if err != nil {
		return nil, &ingestError{err}
	}
	if len(missing) == 0 {
		return nil, nil //nolint:nilnil // nothing to copy is no error
	}
	b := &backfill{catalog: catalog, tables: missing, mapped: tables, unknown: map[*cdc.Table]bool{}}
	for _, t := range missing {
		b.unknown[t] = !held[t.Name]
	}
	if b.snapshot, err = cdc.CreateSlot(ctx, string(t.config.Source.URL), copySlot(t.config.Source.Slot), true); err != nil {
		return nil, fmt.Errorf("snapshot for new tables and columns: %w", err)
	}
	return b, nil
}

// copySlot names the temporary slot beside the relay's own. Names have 63 characters at most.
func copySlot(slot string) string {
	const suffix = "_copy"
	return slot[:min(len(slot), 63-len(suffix))] + suffix
}

// copyProgress reports a long copy.
type copyProgress struct {
	log   *slog.Logger
	table string
	rows  int
	last  time.Time
}

func (p *copyProgress) row() {
	if p.rows++; p.rows%10000 != 0 {
		return
	}
	if now := time.Now(); now.Sub(p.last) >= 5*time.Second {
		p.last = now
		p.log.Info("copying into the mirror", "table", p.table, "rows", p.rows)
	}
}
