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

// comparison finds the net differences between a snapshot and the mirror, table by table and page by page, and brings the mirror up to
// date, but for the rows that are gone: mapping looks them up, and deletes them in the end.
type snapshotDiff struct {
	*Ingester
	r     *Reconciliation
	large *outbox.Large
	// gone are told before changed: what took the place of something, such as a user of the same name, comes after it.
	gone, changed *cdc.Spool
	found         []*cdc.Transaction // what the spools have become

	page      []cdc.Row
	pageBytes int
	seq       int
	known     int64 // rows that the mirror has under their keys
	tables    []outbox.TableDifference
	saved     time.Time
	logged    time.Time
}

const (
	// comparePage and comparePageBytes bound the rows in memory.
	comparePage      = 1000
	comparePageBytes = 2 << 20
	// progressPause and progressLog are how often progress is stored and logged.
	progressPause = time.Second
	progressLog   = 10 * time.Second
)

// run compares, and returns all differences.
func (c *snapshotDiff) run(ctx context.Context) (netChanges, error) {
	c.logged = time.Now()
	for _, t := range c.r.Compared {
		if err := c.table(ctx, t); err != nil {
			return nil, fmt.Errorf("compare table %s: %w", t.Name, err)
		}
	}
	if err := c.recognise(); err != nil {
		return nil, err
	}
	for _, spool := range []*cdc.Spool{c.gone, c.changed} {
		tx, err := spool.Transaction()
		if err != nil {
			return nil, err
		}
		c.found = append(c.found, tx)
	}
	return func(yield func(cdc.Change, error) bool) {
		for _, tx := range c.found {
			for change, err := range tx.All() {
				if !yield(change, err) || err != nil {
					return
				}
			}
		}
	}, nil
}

// recognise refuses to tell of another IAM that everything in this one was deleted.
func (c *snapshotDiff) recognise() error {
	if expected := c.r.Record.Expected; c.r.DifferentServer && c.known*2 < expected {
		return fmt.Errorf("%s, and it has only %d of the %d rows in the mirror: it looks like another IAM or an empty one; correct source.url, or, if it is the right database, run iam-relay reconcile --dry-run to see the differences, and iam-relay reconcile to emit them",
			c.r.Record.Reason, c.known, expected)
	}
	return nil
}

func (c *snapshotDiff) close() {
	for _, tx := range c.found {
		c.discard(tx)
	}
	if err := errors.Join(c.gone.Close(), c.changed.Close()); err != nil {
		c.Log.Warn("could not remove a spill file; remove it manually", "err", err)
	}
}

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
		if len(c.page) < comparePage && c.pageBytes < comparePageBytes {
			return nil
		}
		return c.turn(ctx, t)
	})
	if err == nil {
		err = c.turn(ctx, t)
	}
	if err != nil {
		return err
	}
	relation, difference := c.r.Catalog.Relation(t.Name), &c.tables[len(c.tables)-1]
	err = c.large.EachDeleted(ctx, t, func(key cdc.Key, row cdc.Row) error {
		difference.Deleted++
		c.seq++
		return c.gone.Add(cdc.Change{Seq: c.seq, Op: cdc.Delete, Relation: relation, Key: key, Old: row})
	})
	if err != nil {
		return err
	}
	return c.large.ClearSnapshotKeys(ctx)
}

// turn compares one page.
func (c *snapshotDiff) turn(ctx context.Context, t *cdc.Table) error {
	if len(c.page) == 0 {
		return nil
	}
	c.mirror.Begin(ctx)
	keys := make([]cdc.Key, len(c.page))
	for i, row := range c.page {
		var err error
		if keys[i], err = t.KeyOf(row); err != nil {
			return err
		}
		c.wantOld(&cdc.Change{Relation: c.r.Catalog.Relation(t.Name), Key: keys[i]})
	}
	// What does not fit into memory is fetched row by row.
	if err := c.mirror.Load(func(*cdc.Table, cdc.Row) {}); err != nil && !errors.Is(err, outbox.ErrFull) {
		return err
	}
	chunk := &outbox.Chunk{}
	for i, row := range c.page {
		if err := c.row(t, keys[i], row, chunk); err != nil {
			return err
		}
	}
	if err := c.mirror.Err(); err != nil {
		return err
	}
	c.mirror.Write(chunk)
	c.mirror.Reset()
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
	change := cdc.Change{Op: cdc.Insert, Relation: c.r.Catalog.Relation(t.Name), Key: key, New: row}
	difference := &c.tables[len(c.tables)-1]
	old := c.mirror.Row(t, key)
	if old != nil {
		c.known++
		lacking, revived := c.r.MissingColumns[t], c.r.RevivedColumns[t]
		if lacking == nil && revived == nil && slices.Equal(old, row) {
			return nil
		}
		if lacking != nil {
			old = slices.Clone(old)
			for _, column := range lacking {
				old[column] = cdc.Value{}
			}
		}
		old = c.r.revive(t, old, row)
		change.Op, change.Old = cdc.Update, old
	}
	c.mirror.Apply(&change)
	switch {
	case old == nil:
		difference.Inserted++
	case differ(old, row):
		difference.Updated++
	default: // only in columns that one of them does not have
		return nil
	}
	c.seq++
	change.Seq = c.seq
	c.mirror.Keep(chunk, &change)
	return c.changed.Add(change)
}

// differ reports whether a column's value is known in both rows, and another one.
func differ(old, row cdc.Row) bool {
	for i := range row {
		if old[i].Known() && row[i].Known() && old[i] != row[i] {
			return true
		}
	}
	return false
}

// progress tells those who wait how far it is.
func (c *snapshotDiff) progress(ctx context.Context) error {
	now := time.Now()
	record := &c.r.Record
	if record.ID == 0 || now.Sub(c.saved) < progressPause {
		return nil
	}
	c.saved = now
	if now.Sub(c.logged) >= progressLog {
		c.logged = now
		c.Log.Info("comparing the tables with the mirror", "table", record.Table, "rows", record.Rows, "expected", record.Expected)
	}
	return c.Store.UpdateReconciliation(ctx, record)
}

// result is what was found, and told or to be told.
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
