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
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// largeChunk is how many changes of a large transaction are in memory at a time, unless largeBytes are fewer.
const (
	largeChunk = 500
	largeBytes = 2 << 20
)

// commitLarge ingests a transaction that does not fit into memory, in chunks, inside one outbox transaction. It gives what the
// other path gives:
//
//	make the changes of each key independent of those of other keys
//	fold and complete them part by part, and keep the net changes, with their old rows, in a second spool
//	observe all net changes, and write the new rows to the mirror
//	map all net changes: parents and children are looked up in the mirror, which has the new rows and still has the deleted ones
//	delete what was deleted
//
// Nothing is written to the mirror before the last old row was read from it.
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
	l := in.newLarge(large, tx)
	if err := l.run(ctx, net.All()); err != nil {
		return fmt.Errorf("transaction %s: %w", tx.Commit, err)
	}
	large.Mark = tx.Mark()
	if err := large.Commit(ctx, tx.End, l.last); err != nil {
		return err
	}
	in.committedLarge(l, tx.End)
	in.Metrics.OutboxCommit(time.Since(began))
	in.Metrics.Transaction(time.Since(tx.Time))
	return nil
}

// committedLarge is what follows a durable commit.
func (in *Ingester) committedLarge(l *largeMapping, end cdc.LSN) {
	in.stored, in.lastEvent, in.idleSince, in.seen = end, l.last, time.Now(), nil
	in.acknowledge(end)
	in.Dispatcher.Update(l.changed)
	in.Dispatcher.Skip(l.last, l.webhooks)
	in.Monitor.Ingested(end, in.held.len())
	for what, n := range l.emitted {
		for range n {
			in.Metrics.Event(what.name, what.resolved)
		}
		if !what.resolved {
			in.Warnings.unresolvedEvent(what.name, "events", n)
		}
	}
	in.reportWithoutBody(&l.lacking)
}

// discard removes a transaction's temporary files.
func (in *Ingester) discard(tx *cdc.Transaction) {
	if err := tx.Close(); err != nil {
		in.Log.Warn("could not remove a spill file; remove it manually", "err", err)
	}
}

// netChanges folds and completes the transaction part by part.
func (in *Ingester) netChanges(ctx context.Context, tx *cdc.Transaction, large *outbox.Large) (*cdc.Transaction, error) {
	spool := cdc.NewSpool(in.SpillDir, in.SpillBytes)
	fail := func(err error) (*cdc.Transaction, error) { return nil, errors.Join(err, spool.Close()) }
	alive := func() error { return large.Ping(ctx) }
	err := tx.EachPart(alive, func(part iter.Seq2[cdc.Change, error]) error {
		var folding mapping.Folding
		err := eachChunk(part, func(changes []cdc.Change) error {
			in.count(tally(changes))
			folding.Add(in.barrier.known(changes))
			return alive()
		})
		if err != nil {
			return err
		}
		return eachChunk(listed(folding.Net()), func(folded []cdc.Change) error { return in.netChunk(ctx, folded, spool, alive) })
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

func (in *Ingester) netChunk(ctx context.Context, folded []cdc.Change, spool *cdc.Spool, alive func() error) error {
	load := func() error { return in.mirror.Load(func(*cdc.Table, cdc.Row) {}) }
	return in.inParts(ctx, folded, in.wantOld, load, func(part []cdc.Change) error {
		return errors.Join(in.complete(ctx, part, spool), alive())
	})
}

// complete completes changes whose old rows are loaded, and keeps them in the spool. The rows of the transaction itself stay as they
// are: only a few may hold values that the IAM left alone, which the mirror has.
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

// largeMapping is the second half: net changes to events.
type largeMapping struct {
	*Ingester
	large    *outbox.Large
	tx       *cdc.Transaction
	last     int64
	next     int           // the index of the next event
	reserved map[int]int64 // IDs of grouped events that are still in the making, by index
	changed  []outbox.Webhook
	webhooks map[int64]bool // that have events of this transaction
	emitted  map[eventKind]int
	sample   []outbox.EventRef // the first that were reconciled
	lacking  withoutBody
}

// told is what events are counted by.
type eventKind struct {
	name                 string
	resolved, reconciled bool // to a tenant; by a comparison
}

// maxSample is how many events of a reconciliation are named one by one.
const maxSample = 100

// netChanges are net changes that can be gone through again and again.
type netChanges = iter.Seq2[cdc.Change, error]

func (in *Ingester) newLarge(large *outbox.Large, tx *cdc.Transaction) *largeMapping {
	return &largeMapping{Ingester: in, large: large, tx: tx, last: in.lastEvent, reserved: map[int]int64{}, webhooks: map[int64]bool{}, emitted: map[eventKind]int{}}
}

func (l *largeMapping) run(ctx context.Context, net netChanges) error {
	mapped := l.Mapper.BeginLarge(mapping.Commit{LSN: l.tx.Commit, Time: l.tx.Time, Reconciled: l.reconciling}, l.mirror)
	err := eachChunk(net, func(changes []cdc.Change) error {
		mapped.Observe(changes)
		chunk := &outbox.Chunk{}
		l.cancelHeld(mapped.Cancellations(), l.tx, chunk)
		return l.write(ctx, chunk)
	})
	if err != nil {
		return err
	}
	if err := l.writeMirror(ctx, net, mapped.NeedsChildrenBefore()); err != nil {
		return err
	}
	if mapped.Grouping() {
		err = eachChunk(net, func(changes []cdc.Change) error {
			return l.loaded(ctx, changes, func(part []cdc.Change) error {
				defer l.mirror.Reset()
				return errors.Join(mapped.Group(part), l.mirror.Err())
			})
		})
		if err != nil {
			return err
		}
	}
	err = eachChunk(net, func(changes []cdc.Change) error {
		return l.loaded(ctx, changes, func(part []cdc.Change) error {
			return l.emitting(ctx, func(emit func(mapping.Event) error) error { return mapped.Map(part, emit) })
		})
	})
	if err != nil {
		return err
	}
	if err := l.deleteGone(ctx, net); err != nil {
		return err
	}
	return l.follow(ctx, net)
}

// writeMirror writes the new rows, which a comparison has done already. With keep it notes what collected rows were before.
func (l *largeMapping) writeMirror(ctx context.Context, net netChanges, keep bool) error {
	return eachChunk(net, func(changes []cdc.Change) error {
		l.mirror.Begin(ctx)
		chunk := &outbox.Chunk{}
		for i := range changes {
			c := &changes[i]
			if keep && (!l.reconciling || c.Op == cdc.Delete) {
				l.mirror.Keep(chunk, c)
			}
			if !l.reconciling && c.Op != cdc.Delete {
				l.mirror.Apply(c)
			}
		}
		l.mirror.Write(chunk)
		l.mirror.Reset()
		return l.large.Write(ctx, chunk)
	})
}

// loaded works through changes with the rows at hand that mapping them needs.
func (l *largeMapping) loaded(ctx context.Context, changes []cdc.Change, work func([]cdc.Change) error) error {
	return l.inParts(ctx, changes, func(c *cdc.Change) { l.Mapper.Refs(c, l.mirror.Want) }, l.loadAll, work)
}

// number gives an event its ID. IDs grow with the index: one that is passed over belongs to a grouped event that comes later.
func (l *largeMapping) number(index int, e *outbox.Event) {
	if id, ok := l.reserved[index]; ok {
		delete(l.reserved, index)
		e.ID = id
		return
	}
	l.pass(index)
	l.last++
	e.ID = l.last
}

// pass reserves IDs for the events before index that have none, and goes on behind index.
func (l *largeMapping) pass(index int) {
	for ; l.next < index; l.next++ {
		l.last++
		l.reserved[l.next] = l.last
	}
	l.next = index + 1
}

// emitting collects the events of one step and writes them.
func (l *largeMapping) emitting(ctx context.Context, step func(emit func(mapping.Event) error) error) error {
	chunk := &outbox.Chunk{}
	err := step(func(e mapping.Event) error {
		l.emit(&e, l.tx, chunk)
		if e.Delay != nil {
			l.pass(e.Index)
		} else {
			l.number(e.Index, &chunk.Events[len(chunk.Events)-1])
		}
		if chunk.Bytes < commitBytes {
			return nil
		}
		full := chunk
		chunk = &outbox.Chunk{}
		return l.write(ctx, full)
	})
	if err != nil {
		return err
	}
	if err := l.mirror.Err(); err != nil {
		return err
	}
	l.mirror.Reset()
	return l.write(ctx, chunk)
}

func (l *largeMapping) write(ctx context.Context, chunk *outbox.Chunk) error {
	for i := range chunk.Events {
		for _, w := range chunk.Events[i].Webhooks {
			l.webhooks[w] = true
		}
		l.tell(&chunk.Events[i])
		l.lacking.add(&chunk.Events[i])
	}
	for i := range chunk.Delayed {
		if l.reconciling {
			l.tell(&chunk.Delayed[i].Event)
		}
	}
	if err := l.large.Write(ctx, chunk); err != nil {
		return err
	}
	l.held.drop(chunk.Canceled)
	return nil
}

// tell counts an event.
func (l *largeMapping) tell(e *outbox.Event) {
	l.emitted[eventKind{e.Name, e.Tenant != "", e.Reconciled}]++
	if e.Reconciled && len(l.sample) < maxSample {
		l.sample = append(l.sample, outbox.EventRef{Event: e.Name, Tenant: e.Tenant, Resource: e.Resource})
	}
}

// deleteGone deletes what was deleted.
func (l *largeMapping) deleteGone(ctx context.Context, net netChanges) error {
	return eachChunk(net, func(changes []cdc.Change) error {
		chunk := &outbox.Chunk{}
		for i := range changes {
			if c := &changes[i]; c.Op == cdc.Delete {
				chunk.Delete(c.Relation.Table, c.Key)
			}
		}
		return l.large.Write(ctx, chunk)
	})
}

// follow brings the subscriptions up to date. The mirror is as it is after the transaction.
func (l *largeMapping) follow(ctx context.Context, net netChanges) error {
	return eachChunk(net, func(changes []cdc.Change) error {
		l.mirror.Begin(ctx)
		chunk := &outbox.Chunk{}
		l.subs.followRoots(l.Mapper, changes)
		webhooks := l.subs.follow(l.Mapper, changes, l.mirror, l.last)
		chunk.AddWebhooks(webhooks)
		l.changed = append(l.changed, webhooks...)
		if err := l.mirror.Err(); err != nil {
			return err
		}
		l.mirror.Reset()
		return l.large.Write(ctx, chunk)
	})
}

// eachChunk hands over changes in chunks that take little memory.
func eachChunk(net netChanges, each func([]cdc.Change) error) error {
	chunk := make([]cdc.Change, 0, largeChunk)
	size := 0
	for c, err := range net {
		if err != nil {
			return err
		}
		chunk, size = append(chunk, c), size+c.Size()
		if len(chunk) == largeChunk || size >= largeBytes {
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

func listed(changes []cdc.Change) iter.Seq2[cdc.Change, error] {
	return func(yield func(cdc.Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}
