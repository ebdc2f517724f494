package ingest

import (
	"context"

	"github.com/iam-relay/iam-relay/cdc"
)

// batch is the small transactions that are to share a commit. Its owner discards it in the end.
type batch struct {
	in          *Ingester
	txs         []*cdc.Transaction
	rows, bytes int
}

// add reports whether the batch is full with the transaction.
func (b *batch) add(tx *cdc.Transaction) (full bool) {
	b.txs = append(b.txs, tx)
	b.rows, b.bytes = b.rows+tx.Len(), b.bytes+tx.Bytes()
	return b.rows >= b.in.BatchRows || b.bytes >= b.in.limits.commitBytes
}

// commit commits the transactions and empties the batch.
func (b *batch) commit(ctx context.Context) error {
	defer b.discard()
	return b.in.commit(ctx, b.txs)
}

func (b *batch) discard() {
	for _, tx := range b.txs {
		b.in.discard(tx)
	}
	b.txs, b.rows, b.bytes = nil, 0, 0
}

// take ingests one message and, as far as they are waiting already and fit into the same commit, those behind it.
func (in *Ingester) take(ctx context.Context, m cdc.Message, messages <-chan cdc.Message) error {
	b := &batch{in: in}
	defer b.discard()
	for m.Transaction != nil && !in.needsOwnCommit(m.Transaction) {
		if err := in.commitBefore(ctx, b, m.Transaction); err != nil {
			return err
		}
		if full := b.add(m.Transaction); full {
			return b.commit(ctx)
		}
		next, waiting := nextWaiting(messages)
		if !waiting {
			return b.commit(ctx)
		}
		m = next
	}
	return in.takeAlone(ctx, b, m)
}

// commitBefore commits what has to precede a transaction: delayed events that are due, and the batch before them, which may cancel
// some; and a reconciliation whose position has come.
func (in *Ingester) commitBefore(ctx context.Context, b *batch, tx *cdc.Transaction) error {
	if in.delayed.overdue(tx.Time) {
		if err := b.commit(ctx); err != nil {
			return err
		}
		if err := in.release(ctx, tx.Time, in.stored); err != nil {
			return err
		}
	}
	if !in.barrier.passedBy(tx.Commit) {
		return nil
	}
	if err := b.commit(ctx); err != nil {
		return err
	}
	return in.passBarrier(ctx, tx.Commit)
}

// takeAlone ingests a message that cannot be part of a batch, after the batch.
func (in *Ingester) takeAlone(ctx context.Context, b *batch, m cdc.Message) error {
	if err := b.commit(ctx); err != nil {
		return err
	}
	tx := m.Transaction
	if tx == nil {
		return in.idle(ctx, m)
	}
	defer in.discard(tx)
	if err := in.commitBefore(ctx, b, tx); err != nil {
		return err
	}
	return in.commitLarge(ctx, tx)
}

// nextWaiting returns the next message if there is one already.
func nextWaiting(messages <-chan cdc.Message) (m cdc.Message, waiting bool) {
	select {
	case m, waiting = <-messages:
		return m, waiting
	default:
		return m, false
	}
}
