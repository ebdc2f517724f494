package cdc

import (
	"errors"
	"iter"
	"slices"
	"time"
)

// Transaction is one committed transaction with its changes of the mapped tables. It is not safe for concurrent use. Its last
// owner closes it.
type Transaction struct {
	// Commit is the position of the commit record. It increases strictly from transaction to transaction and identifies this one.
	Commit LSN
	// End is the position after the commit record. It is stored and acknowledged once the transaction is durable.
	End LSN
	// Time is the commit time by the server's clock, in UTC.
	Time time.Time
	XID  uint32
	// Origin is the replication origin of a transaction that was replicated to the server; empty for the server's own transactions.
	Origin string

	content   content
	partLimit int64
	weight    int64
	closed    func(weight int64) // reports the first Close to the Source
}

// Len returns the number of changes.
func (t *Transaction) Len() int { return t.content.count }

// Bytes returns approximately how much memory the transaction holds.
func (t *Transaction) Bytes() int { return t.content.bytes }

// Spilled reports whether the changes are in a temporary file.
func (t *Transaction) Spilled() bool { return t.content.file != nil }

// Truncates reports whether a change is a Truncate.
func (t *Transaction) Truncates() bool {
	return len(t.content.truncates) > 0 || slices.ContainsFunc(t.content.changes, func(c Change) bool { return c.Op == Truncate })
}

// Moves reports whether the transaction changed the key of a row.
func (t *Transaction) Moves() bool { return t.content.moves }

// Changes returns all changes in order, or nil if they are Spilled.
func (t *Transaction) Changes() []Change { return t.content.changes }

// EachPart passes the changes to each part by part, every part in the order of Seq and Sub: as one part, or, if they are
// Spilled, as many. All changes of a key are in the same part, and every Truncate is in all parts. (A Moved Insert is in the
// part of its new key.)
//
// If the consumer keeps one state per key instead of every change, a part takes at most four times the memory limit, for
// transactions of up to several thousand times that limit.
//
// busy is called regularly while the file is reorganized and no change can be passed on.
func (t *Transaction) EachPart(busy func() error, each func(iter.Seq2[Change, error]) error) error {
	if !t.Spilled() {
		return each(t.All())
	}
	file := t.content.file
	for i := range spillParts {
		if file.parts[i].readSize() <= t.partLimit {
			if err := each(t.part(file, i)); err != nil {
				return err
			}
		} else if err := t.eachFine(i, busy, each); err != nil {
			return err
		}
	}
	return nil
}

// eachFine splits a part that is too large and passes on the parts of that.
func (t *Transaction) eachFine(part int, busy func() error, each func(iter.Seq2[Change, error]) error) (err error) {
	fine, err := t.content.file.split(part, busy)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fine.close()) }()
	for i := range spillParts {
		if err := each(t.part(fine, i)); err != nil {
			return err
		}
	}
	return nil
}

// All yields all changes in the order of Seq and Sub, a Truncate once, using about a megabyte of memory for a spilled
// transaction. After an error it yields nothing more.
func (t *Transaction) All() iter.Seq2[Change, error] {
	if t.Spilled() {
		return t.merged(t.content.file, t.content.file.parts[:])
	}
	return func(yield func(Change, error) bool) {
		for _, change := range t.content.changes {
			if !yield(change, nil) {
				return
			}
		}
	}
}

// Close removes the temporary file. It may be called more than once.
func (t *Transaction) Close() error {
	if t.closed != nil {
		t.closed(t.weight)
		t.closed = nil
	}
	return t.content.close()
}
