package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// errTooLarge reports that the events of a transaction exceed limits.commitBytes although its changes fit into memory.
var errTooLarge = errors.New("the transaction's events do not fit into memory")

// commit writes a batch of small transactions: in one outbox transaction, or in several if their events, or the rows that they need, are
// large.
func (in *Ingester) commit(ctx context.Context, batch []*cdc.Transaction) error {
	for len(batch) > 0 {
		n, err := in.commitSome(ctx, batch)
		if err != nil {
			return err
		}
		if batch = batch[n:]; len(batch) == 0 || !in.delayed.overdue(batch[0].Time) {
			continue
		}
		if err := in.release(ctx, batch[0].Time, in.stored); err != nil {
			return err
		}
	}
	return nil
}

// commitSome writes as many transactions of the batch as fit into memory, and returns their number. A transaction that does not fit on its
// own is written as a large one.
func (in *Ingester) commitSome(ctx context.Context, batch []*cdc.Transaction) (int, error) {
	began := time.Now()
	in.mirror.Begin(ctx)
	parts := make([][]cdc.Change, len(batch))
	for i, tx := range batch {
		parts[i] = in.barrier.known(slices.Clone(tx.Changes())) // folding modifies them, and a second attempt needs the originals
	}
	err := in.prefetch(parts)
	if errors.Is(err, outbox.ErrFull) {
		if len(batch) > 1 {
			return in.commitSome(ctx, batch[:len(batch)/2])
		}
		return 1, in.commitLarge(ctx, batch[0])
	}
	if err != nil {
		return 0, err
	}
	chunk := &outbox.Chunk{}
	last, n := in.lastEvent, 0
	var counts []map[changeKind]int
	for n < len(batch) && chunk.Bytes < in.limits.commitBytes {
		count := tally(parts[n])
		last, err = in.transact(ctx, batch[n], parts[n], chunk, last)
		if errors.Is(err, errTooLarge) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("transaction %s: %w", batch[n].Commit, err)
		}
		counts = append(counts, count)
		n++
	}
	if n == 0 {
		return 1, in.commitLarge(ctx, batch[0])
	}
	if err := in.commitChunk(ctx, chunk, batch[n-1].End, last, began); err != nil {
		return 0, err
	}
	for i, count := range counts {
		in.Metrics.Transaction(time.Since(batch[i].Time))
		in.count(count)
	}
	return n, nil
}

// commitChunk commits the chunk together with the changed mirror rows.
func (in *Ingester) commitChunk(ctx context.Context, chunk *outbox.Chunk, end cdc.LSN, last int64, began time.Time) error {
	if err := in.mirror.Err(); err != nil {
		return err
	}
	in.mirror.Write(chunk)
	if err := in.Leader.Commit(ctx, chunk, end, last); err != nil {
		in.mirror.Reset()
		return err
	}
	in.mirror.Committed()
	in.committed(chunk, end, last, began)
	return nil
}

// transact maps one small transaction into the chunk and applies it to the mirror in memory, for the next one. It returns the id of the
// last event. After errTooLarge the chunk is as before.
func (in *Ingester) transact(ctx context.Context, tx *cdc.Transaction, changes []cdc.Change, chunk *outbox.Chunk, last int64) (int64, error) {
	chunk.Mark = tx.Mark()
	if len(changes) == 0 {
		return last, nil
	}
	net, err := mapping.Fold(changes)
	if err != nil {
		return last, err
	}
	net, err = in.resolve(ctx, net)
	if err != nil {
		return last, err
	}
	last = in.releaseFromChunk(tx.Time, chunk, last)
	mapped := in.Mapper.Begin(mapping.Commit{LSN: tx.Commit, Time: tx.Time}, in.rows(ctx))
	mapped.Observe(net)
	before, delayed := *chunk, *in.delayed
	emit := func(e mapping.Event) error {
		if in.emit(&e, tx, chunk); chunk.Bytes-before.Bytes > in.limits.commitBytes {
			return errTooLarge
		}
		return nil
	}
	if mapped.Grouping() {
		if err := mapped.Group(net); err != nil {
			return last, err
		}
	}
	if err := mapped.Map(net, emit); err != nil {
		*chunk, *in.delayed = before, delayed
		return last, err
	}
	if unresolved(chunk.Events[len(before.Events):]) {
		if err := in.verifySource(ctx, tx.Commit); err != nil {
			return last, err
		}
	}
	last = number(chunk.Events[len(before.Events):], last)
	in.cancelDelayed(mapped.Cancellations(), tx, chunk)
	for i := range net {
		in.mirror.Apply(&net[i])
	}
	in.subs.followRoots(in.Mapper, net)
	chunk.AddWebhooks(in.subs.follow(in.Mapper, net, in.mirror, last))
	return last, nil
}

// resolve completes net changes with old rows and omitted values from the mirror, and drops those that change nothing.
func (in *Ingester) resolve(ctx context.Context, net []cdc.Change) ([]cdc.Change, error) {
	kept := net[:0]
	for i := range net {
		c := &net[i]
		old := in.mirror.Row(c.Relation.Table, c.Key)
		if c.Moved { // another row may have had the key before
			mapping.ResolveFrom(c, in.mirror.Row(c.Relation.Table, c.OldKey))
		}
		if !mapping.Resolve(c, old) {
			continue
		}
		if err := in.barrier.complete(ctx, c); err != nil {
			return nil, err
		}
		if c.Op == cdc.Update && old != nil {
			c.Old = in.Plan.revive(c.Relation.Table, c.Old, c.New)
		}
		kept = append(kept, *c)
	}
	return kept, nil
}
