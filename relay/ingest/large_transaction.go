package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// commitLarge ingests a transaction that does not fit into memory, in chunks, inside one outbox transaction. The result is the same as that of
// commit. The steps:
//
//  1. untangle: make the changes of each key independent of those of other keys.
//  2. netChanges: fold and complete them part by part, and keep the net changes, with their old rows, in a second spool.
//  3. largeMapping.run: observe all net changes and write the new rows to the mirror; map all net changes, looking up parents and children in
//     the mirror, which has the new rows and still has the deleted ones; then delete those.
//
// The mirror is written only after the last old row has been read from it.
func (in *Ingester) commitLarge(ctx context.Context, tx *cdc.Transaction) (err error) {
	began := time.Now()
	if tx, err = in.untangle(ctx, tx); err != nil {
		return err
	}
	defer in.discard(tx)
	large, err := in.Leader.Begin(ctx, in.mirror)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.End(in.mirror)) }()
	net, err := in.netChanges(ctx, tx, large)
	if err != nil {
		return fmt.Errorf("transaction %s: %w", tx.Commit, err)
	}
	defer in.discard(net)
	l := in.newLarge(large, tx, in.rows(ctx))
	if err := l.run(ctx, net.All()); err != nil {
		return fmt.Errorf("transaction %s: %w", tx.Commit, err)
	}
	if err := large.Commit(ctx, tx.End, l.last, tx.Mark()); err != nil {
		return err
	}
	in.committedLarge(l, tx.End)
	in.Metrics.OutboxCommit(time.Since(began))
	in.Metrics.Transaction(time.Since(tx.Time))
	return nil
}

// committedLarge follows a durable commit, like committed. The dispatcher reads the events from the outbox.
func (in *Ingester) committedLarge(l *largeMapping, end cdc.LSN) {
	in.stored, in.lastEvent, in.lastCommit, in.pendingMark = end, l.last, time.Now(), nil
	in.acknowledge(end)
	in.Dispatcher.Update(l.changed)
	in.Dispatcher.Skip(l.last, l.webhooks)
	in.Monitor.Ingested(end, in.delayed.len())
	for what, n := range l.emitted {
		for range n {
			in.Metrics.Event(what.name, what.resolved)
		}
		if !what.resolved {
			in.Warnings.unresolvedEvent(what.name, "events", n)
		}
	}
	in.reportWithoutBody(&l.bodiless)
}

// discard removes the transaction's temporary files.
func (in *Ingester) discard(tx *cdc.Transaction) {
	if err := tx.Close(); err != nil {
		in.Log.Warn("could not remove a spill file; remove it manually", "err", err)
	}
}

// netChanges folds and completes the transaction part by part. It returns the net changes as a transaction, which the caller discards.
func (in *Ingester) netChanges(ctx context.Context, tx *cdc.Transaction, large Large) (*cdc.Transaction, error) {
	spool := cdc.NewSpool(in.SpillDir, in.SpillBytes)
	fail := func(err error) (*cdc.Transaction, error) { return nil, errors.Join(err, spool.Close()) }
	alive := func() error { return large.Ping(ctx) }
	err := tx.EachPart(alive, func(part iter.Seq2[cdc.Change, error]) error {
		var folding mapping.Folding
		err := in.eachChunk(part, func(changes []cdc.Change) error {
			in.count(tally(changes))
			folding.Add(in.barrier.known(changes))
			return alive()
		})
		if err != nil {
			return err
		}
		return in.eachChunk(listed(folding.Net()), func(folded []cdc.Change) error { return in.netChunk(ctx, folded, spool, alive) })
	})
	if err != nil {
		return fail(err)
	}
	net, err := spool.Transaction()
	if err != nil {
		return fail(err)
	}
	return net, nil
}

// netChunk completes folded changes, loading as many old rows at a time as fit into memory.
func (in *Ingester) netChunk(ctx context.Context, folded []cdc.Change, spool *cdc.Spool, alive func() error) error {
	load := func() error { return in.mirror.Load(func(*cdc.Table, cdc.Row) {}) }
	return in.inParts(ctx, folded, in.wantOld, load, func(part []cdc.Change) error {
		return errors.Join(in.complete(ctx, part, spool), alive())
	})
}

// complete completes changes whose old rows are loaded, and adds them to the spool. It clones the new rows, so that those of the transaction
// itself stay as they are.
func (in *Ingester) complete(ctx context.Context, folded []cdc.Change, spool *cdc.Spool) error {
	defer clear(folded)
	for i := range folded {
		folded[i].New = slices.Clone(folded[i].New)
	}
	net, err := in.resolve(ctx, folded)
	if err := errors.Join(err, in.mirror.Err()); err != nil {
		return err
	}
	for i := range net {
		if err := spool.Add(net[i]); err != nil {
			return err
		}
	}
	in.mirror.Reset()
	return nil
}

// eachChunk calls each with chunks of bounded size. each must not keep the slice.
func (in *Ingester) eachChunk(net netChanges, each func([]cdc.Change) error) error {
	chunk := make([]cdc.Change, 0, in.limits.largeChunk)
	size := 0
	for c, err := range net {
		if err != nil {
			return err
		}
		chunk, size = append(chunk, c), size+c.Size()
		if len(chunk) == in.limits.largeChunk || size >= in.limits.largeBytes {
			if err := each(chunk); err != nil {
				return err
			}
			clear(chunk)
			chunk, size = chunk[:0], 0
		}
	}
	if len(chunk) == 0 {
		return nil
	}
	return each(chunk)
}

// listed returns changes as an iterator without errors.
func listed(changes []cdc.Change) iter.Seq2[cdc.Change, error] {
	return func(yield func(cdc.Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}
