package ingest

import (
	"context"
	"errors"
	"iter"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// largeMapping turns the net changes of a large transaction, or of a reconciliation, into events within one outbox transaction.
type largeMapping struct {
	in       *Ingester
	large    Large
	tx       *cdc.Transaction
	rows     mapping.Rows
	last     int64
	next     int           // the index of the next event
	reserved map[int]int64 // ids of grouped events that are not complete yet, by index
	changed  []outbox.Webhook
	webhooks map[int64]bool // those that get events of this transaction
	emitted  map[eventKind]int
	sample   []outbox.EventRef // the first events of a reconciliation
	bodiless withoutBody
}

// eventKind is what emitted events are counted by.
type eventKind struct {
	name       string
	resolved   bool // the tenant is known
	reconciled bool
}

// maxSample is how many events of a reconciliation its result lists.
const maxSample = 100

// netChanges are net changes that can be iterated several times.
type netChanges = iter.Seq2[cdc.Change, error]

func (in *Ingester) newLarge(large Large, tx *cdc.Transaction, rows mapping.Rows) *largeMapping {
	return &largeMapping{in: in, large: large, tx: tx, rows: rows, last: in.lastEvent, reserved: map[int]int64{}, webhooks: map[int64]bool{}, emitted: map[eventKind]int{}}
}

func (l *largeMapping) run(ctx context.Context, net netChanges) error {
	mapped := l.in.Mapper.BeginLarge(mapping.Commit{LSN: l.tx.Commit, Time: l.tx.Time, Reconciled: l.in.reconciling}, l.rows)
	err := l.in.eachChunk(net, func(changes []cdc.Change) error {
		mapped.Observe(changes)
		chunk := &outbox.Chunk{}
		l.in.cancelDelayed(mapped.Cancellations(), l.tx, chunk)
		return l.write(ctx, chunk)
	})
	if err != nil {
		return err
	}
	if err := l.writeMirror(ctx, net, mapped.NeedsChildrenBefore()); err != nil {
		return err
	}
	if mapped.Grouping() {
		err = l.in.eachChunk(net, func(changes []cdc.Change) error {
			return l.withRows(ctx, changes, func(part []cdc.Change) error {
				defer l.in.mirror.Reset()
				return errors.Join(mapped.Group(part), l.in.mirror.Err())
			})
		})
		if err != nil {
			return err
		}
	}
	err = l.in.eachChunk(net, func(changes []cdc.Change) error {
		return l.withRows(ctx, changes, func(part []cdc.Change) error {
			return l.writeEvents(ctx, func(emit func(mapping.Event) error) error { return mapped.Map(part, emit) })
		})
	})
	if err != nil {
		return err
	}
	if err := l.deleteRows(ctx, net); err != nil {
		return err
	}
	return l.follow(ctx, net)
}

// writeMirror writes the new rows to the mirror; during a reconciliation the comparison has done so. With keep it also stores the previous
// children rows, which mapping needs.
func (l *largeMapping) writeMirror(ctx context.Context, net netChanges, keep bool) error {
	return l.in.eachChunk(net, func(changes []cdc.Change) error {
		l.in.mirror.Begin(ctx)
		chunk := &outbox.Chunk{}
		for i := range changes {
			c := &changes[i]
			if keep && (!l.in.reconciling || c.Op == cdc.Delete) {
				l.in.mirror.Keep(chunk, c)
			}
			if !l.in.reconciling && c.Op != cdc.Delete {
				l.in.mirror.Apply(c)
			}
		}
		l.in.mirror.Write(chunk)
		l.in.mirror.Reset()
		return l.large.Write(ctx, chunk)
	})
}

// withRows calls work with parts of the changes, after the mirror rows that mapping them needs have been loaded.
func (l *largeMapping) withRows(ctx context.Context, changes []cdc.Change, work func([]cdc.Change) error) error {
	return l.in.inParts(ctx, changes, func(c *cdc.Change) { l.in.Mapper.Refs(c, l.in.mirror.Want) }, l.in.loadAll, work)
}

// number assigns an id to the event with the index. Ids increase with the index; an index that is skipped belongs to a grouped event that is
// emitted later, and its id is reserved.
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

// pass reserves ids for the skipped events before index.
func (l *largeMapping) pass(index int) {
	for ; l.next < index; l.next++ {
		l.last++
		l.reserved[l.next] = l.last
	}
	l.next = index + 1
}

// writeEvents writes the events that one step of the mapping emits.
func (l *largeMapping) writeEvents(ctx context.Context, step func(emit func(mapping.Event) error) error) error {
	chunk := &outbox.Chunk{}
	err := step(func(e mapping.Event) error {
		l.in.emit(&e, l.tx, chunk)
		if e.Delay != nil {
			l.pass(e.Index)
		} else {
			l.number(e.Index, &chunk.Events[len(chunk.Events)-1])
		}
		if chunk.Bytes < l.in.limits.commitBytes {
			return nil
		}
		full := chunk
		chunk = &outbox.Chunk{}
		return l.write(ctx, full)
	})
	if err != nil {
		return err
	}
	if err := l.in.mirror.Err(); err != nil {
		return err
	}
	l.in.mirror.Reset()
	return l.write(ctx, chunk)
}

// write writes the chunk and counts its events.
func (l *largeMapping) write(ctx context.Context, chunk *outbox.Chunk) error {
	if unresolved(chunk.Events) && !l.in.reconciling { // a reconciliation has all rows
		if err := l.in.verifySource(ctx, l.tx.Commit); err != nil {
			return err
		}
	}
	for i := range chunk.Events {
		for _, w := range chunk.Events[i].Webhooks {
			l.webhooks[w] = true
		}
		l.countEvent(&chunk.Events[i])
		l.bodiless.add(&chunk.Events[i])
	}
	for i := range chunk.Delayed {
		if l.in.reconciling {
			l.countEvent(&chunk.Delayed[i].Event)
		}
	}
	if err := l.large.Write(ctx, chunk); err != nil {
		return err
	}
	l.in.delayed.drop(chunk.Canceled)
	return nil
}

// countEvent counts an event and keeps it for the sample.
func (l *largeMapping) countEvent(e *outbox.Event) {
	l.emitted[eventKind{e.Name, e.Tenant != "", e.Reconciled}]++
	if e.Reconciled && len(l.sample) < maxSample {
		l.sample = append(l.sample, outbox.EventRef{Event: e.Name, Tenant: e.Tenant, Resource: e.Resource})
	}
}

// deleteRows deletes the rows from the mirror that the transaction deleted.
func (l *largeMapping) deleteRows(ctx context.Context, net netChanges) error {
	return l.in.eachChunk(net, func(changes []cdc.Change) error {
		chunk := &outbox.Chunk{}
		for i := range changes {
			if c := &changes[i]; c.Op == cdc.Delete {
				chunk.Delete(c.Relation.Table, c.Key)
			}
		}
		return l.large.Write(ctx, chunk)
	})
}

// follow updates the subscriptions, from the mirror as it is after the transaction.
func (l *largeMapping) follow(ctx context.Context, net netChanges) error {
	return l.in.eachChunk(net, func(changes []cdc.Change) error {
		l.in.mirror.Begin(ctx)
		chunk := &outbox.Chunk{}
		l.in.subs.followRoots(l.in.Mapper, changes)
		webhooks := l.in.subs.follow(l.in.Mapper, changes, l.in.mirror, l.last)
		chunk.AddWebhooks(webhooks)
		l.changed = append(l.changed, webhooks...)
		if err := l.in.mirror.Err(); err != nil {
			return err
		}
		l.in.mirror.Reset()
		return l.large.Write(ctx, chunk)
	})
}
