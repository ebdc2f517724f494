package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// snapshotDiff finds the net differences between a snapshot and the mirror, table by table and page by page, and updates the mirror. Deleted
// rows stay in the mirror until the events are mapped, which may look them up.
type snapshotDiff struct {
	in    *Ingester
	r     *Reconciliation
	large Large
	// deleted rows are emitted before changed ones: a new row may replace a deleted one, such as a user of the same name.
	deleted, changed *cdc.Spool
	differences      []*cdc.Transaction // the contents of the two spools

	page      []cdc.Row
	pageBytes int
	seq       int
	known     int64 // rows of the snapshot whose keys the mirror has
	tables    []outbox.TableDifference
	saved     time.Time
	logged    time.Time
}

const (
	progressStore = time.Second      // how often progress is stored
	progressLog   = 10 * time.Second // how often it is logged
)

// run compares all tables of the plan, and returns the differences.
func (c *snapshotDiff) run(ctx context.Context) (netChanges, error) {
	c.logged = time.Now()
	for _, t := range c.r.Compared {
		if err := c.table(ctx, t); err != nil {
			return nil, fmt.Errorf("compare table %s: %w", t.Name, err)
		}
	}
	if err := c.checkSameIAM(); err != nil {
		return nil, err
	}
	for _, spool := range []*cdc.Spool{c.deleted, c.changed} {
		tx, err := spool.Transaction()
		if err != nil {
			return nil, err
		}
		c.differences = append(c.differences, tx)
	}
	return func(yield func(cdc.Change, error) bool) {
		for _, tx := range c.differences {
			for change, err := range tx.All() {
				if !yield(change, err) || err != nil {
					return
				}
			}
		}
	}, nil
}

// checkSameIAM prevents a wrong source.url from being reported as the deletion of everything.
func (c *snapshotDiff) checkSameIAM() error {
	if expected := c.r.Record.Expected; c.r.DifferentServer && c.known*2 < expected {
		return fmt.Errorf("%s, and it has only %d of the %d rows in the mirror: it looks like another IAM or an empty one; correct source.url, or, if it is the right database, run iam-relay reconcile --dry-run to see the differences, and iam-relay reconcile to emit them",
			c.r.Record.Reason, c.known, expected)
	}
	return nil
}

// close removes the temporary files.
func (c *snapshotDiff) close() {
	for _, tx := range c.differences {
		c.in.discard(tx)
	}
	if err := errors.Join(c.deleted.Close(), c.changed.Close()); err != nil {
		c.in.Log.Warn("could not remove a spill file; remove it manually", "err", err)
	}
}

// table compares one table.
func (c *snapshotDiff) table(ctx context.Context, t *cdc.Table) error {
	c.r.Record.Table = t.Name
	c.tables = append(c.tables, outbox.TableDifference{Table: t.Name})
	if err := c.large.ClearSnapshotKeys(ctx); err != nil {
		return err
	}
	err := c.r.Snapshot.Copy(ctx, t, func(row cdc.Row) error {
		c.page = append(c.page, row)
		for i := range row {
			c.pageBytes += len(row[i].Text)
		}
		if len(c.page) < c.in.limits.pageRows && c.pageBytes < c.in.limits.pageBytes {
			return nil
		}
		return c.comparePage(ctx, t)
	})
	if err == nil {
		err = c.comparePage(ctx, t)
	}
	if err != nil {
		return err
	}
	relation, difference := c.r.Catalog.Relation(t), &c.tables[len(c.tables)-1]
	err = c.large.EachDeleted(ctx, t, func(key cdc.Key, row cdc.Row) error {
		difference.Deleted++
		c.seq++
		return c.deleted.Add(cdc.Change{Seq: c.seq, Op: cdc.Delete, Relation: relation, Key: key, Old: row})
	})
	if err != nil {
		return err
	}
	return c.large.ClearSnapshotKeys(ctx)
}

// comparePage compares the collected rows, writes the mirror, and empties the page.
func (c *snapshotDiff) comparePage(ctx context.Context, t *cdc.Table) error {
	if len(c.page) == 0 {
		return nil
	}
	c.in.mirror.Begin(ctx)
	keys := make([]cdc.Key, len(c.page))
	for i, row := range c.page {
		var err error
		if keys[i], err = t.KeyOf(row); err != nil {
			return err
		}
		c.in.wantOld(&cdc.Change{Relation: c.r.Catalog.Relation(t), Key: keys[i]})
	}
	// Rows that do not fit into memory are fetched one by one.
	if err := c.in.mirror.Load(func(*cdc.Table, cdc.Row) {}); err != nil && !errors.Is(err, outbox.ErrFull) {
		return err
	}
	chunk := &outbox.Chunk{}
	for i, row := range c.page {
		if err := c.row(t, keys[i], row, chunk); err != nil {
			return err
		}
	}
	if err := c.in.mirror.Err(); err != nil {
		return err
	}
	c.in.mirror.Write(chunk)
	c.in.mirror.Reset()
	c.r.Record.Rows += int64(len(c.page))
	clear(c.page)
	c.page, c.pageBytes = c.page[:0], 0
	if err := c.large.Write(ctx, chunk); err != nil {
		return err
	}
	if err := c.large.AddSnapshotKeys(ctx, keys); err != nil {
		return err
	}
	return c.progress(ctx)
}

// row compares one row.
func (c *snapshotDiff) row(t *cdc.Table, key cdc.Key, row cdc.Row, chunk *outbox.Chunk) error {
	change := cdc.Change{Op: cdc.Insert, Relation: c.r.Catalog.Relation(t), Key: key, New: row}
	difference := &c.tables[len(c.tables)-1]
	old := c.in.mirror.Row(t, key)
	if old != nil {
		c.known++
		missing, revived := c.r.MissingColumns[t], c.r.RevivedColumns[t]
		if missing == nil && revived == nil && slices.Equal(old, row) {
			return nil
		}
		if missing != nil {
			old = slices.Clone(old)
			for _, column := range missing {
				old[column] = cdc.Value{}
			}
		}
		old = c.r.revive(t, old, row)
		change.Op, change.Old = cdc.Update, old
	}
	c.in.mirror.Apply(&change)
	switch {
	case old == nil:
		difference.Inserted++
	case differ(old, row):
		difference.Updated++
	default: // they differ only in columns that one of them does not have
		return nil
	}
	c.seq++
	change.Seq = c.seq
	c.in.mirror.Keep(chunk, &change)
	return c.changed.Add(change)
}

// differ reports whether a column has values in both rows that differ.
func differ(old, row cdc.Row) bool {
	for i := range row {
		if old[i].Known() && row[i].Known() && old[i] != row[i] {
			return true
		}
	}
	return false
}

// progress stores and logs how many rows have been compared.
func (c *snapshotDiff) progress(ctx context.Context) error {
	now := time.Now()
	record := &c.r.Record
	if record.ID == 0 || now.Sub(c.saved) < progressStore {
		return nil
	}
	c.saved = now
	if now.Sub(c.logged) >= progressLog {
		c.logged = now
		c.in.Log.Info("comparing the tables with the mirror", "table", record.Table, "rows", record.Rows, "expected", record.Expected)
	}
	return c.in.Store.UpdateReconciliation(ctx, record)
}

// result returns the differences and the events for the record.
func (c *snapshotDiff) result(l *largeMapping) *outbox.ReconciliationResult {
	r := &outbox.ReconciliationResult{Tables: []outbox.TableDifference{}, Events: map[string]int64{}, Sample: append([]outbox.EventRef{}, l.sample...)}
	for _, t := range c.tables {
		if t.Inserted+t.Updated+t.Deleted > 0 {
			r.Tables = append(r.Tables, t)
		}
	}
	for what, n := range l.emitted {
		if what.reconciled {
			r.Events[what.name] += int64(n)
		}
	}
	return r
}
