package cdc

import (
	"cmp"
	"container/heap"
	"errors"
	"io"
	"iter"
	"slices"
	"time"
)

// Transaction is one committed transaction with its changes of the mapped tables. It belongs to one goroutine at a time,
// which closes it in the end.
type Transaction struct {
	// Commit is the position of the commit record. It grows strictly from transaction to transaction and identifies this
	// one.
	Commit LSN
	// End is the position after the commit record: what is acknowledged and stored once the transaction is durable.
	End LSN
	// Time is that of the commit, by the server's clock, in UTC.
	Time time.Time
	XID  uint32
	// Origin names the server from which replication brought the transaction; empty for its own.
	Origin string

	content content
	weight  int64
	closed  func(weight int64) // tells the Source, once
}

// Len is the number of changes.
func (t *Transaction) Len() int { return t.content.count }

// Bytes is approximately the memory held.
func (t *Transaction) Bytes() int { return t.content.bytes }

// Spilled reports whether the changes are in a temporary file.
func (t *Transaction) Spilled() bool { return t.content.file != nil }

// Truncates reports whether some change is a Truncate.
func (t *Transaction) Truncates() bool {
	return len(t.content.truncates) > 0 || slices.ContainsFunc(t.content.changes, func(c Change) bool { return c.Op == Truncate })
}

// Moves reports whether the key of some row changed, of which the log left values out.
func (t *Transaction) Moves() bool { return t.content.moves }

// Parts is how many parts the changes are read in: 1 unless Spilled.
func (t *Transaction) Parts() int {
	if t.Spilled() {
		return spillParts
	}
	return 1
}

// Part returns part i, from 0, in the order of Seq. All changes of one key are in the same part, and a Truncate is in every
// part. (An Insert with From is in the part of its new key.)
func (t *Transaction) Part(i int) ([]Change, error) {
	if !t.Spilled() {
		return t.content.changes, nil
	}
	var changes []Change
	records := t.content.file.records(i)
	for {
		record, err := records.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		change, err := readChange(record, t.content.relations)
		if err != nil {
			return nil, err
		}
		changes = append(changes, change)
	}
	if len(t.content.truncates) > 0 {
		changes = append(changes, t.content.truncates...)
		slices.SortStableFunc(changes, func(a, b Change) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return changes, nil
}

// All yields all changes in the order of Seq, a Truncate once, holding about a megabyte of a spilled transaction at a time.
// After an error it yields nothing more.
func (t *Transaction) All() iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if !t.Spilled() {
			for _, change := range t.content.changes {
				if !yield(change, nil) {
					return
				}
			}
			return
		}
		if err := t.merge(func(c Change) bool { return yield(c, nil) }); err != nil {
			yield(Change{}, err)
		}
	}
}

func (t *Transaction) merge(yield func(Change) bool) error {
	var sources cursors
	truncates := t.content.truncates
	add := func(next func() (Change, error)) error {
		c := &cursor{next: next}
		more, err := c.advance()
		if more {
			sources = append(sources, c)
		}
		return err
	}
	err := add(func() (Change, error) {
		if len(truncates) == 0 {
			return Change{}, io.EOF
		}
		first := truncates[0]
		truncates = truncates[1:]
		return first, nil
	})
	for i := range spillParts {
		records := t.content.file.records(i)
		err = errors.Join(err, add(func() (Change, error) {
			record, err := records.next()
			if err != nil {
				return Change{}, err
			}
			return readChange(record, t.content.relations)
		}))
	}
	if err != nil {
		return err
	}
	heap.Init(&sources)
	for len(sources) > 0 {
		if !yield(sources[0].change) {
			return nil
		}
		more, err := sources[0].advance()
		switch {
		case err != nil:
			return err
		case more:
			heap.Fix(&sources, 0)
		default:
			heap.Pop(&sources)
		}
	}
	return nil
}

// Close removes the temporary file. It may be called again.
func (t *Transaction) Close() error {
	if t.closed != nil {
		t.closed(t.weight)
		t.closed = nil
	}
	return t.content.close()
}

// cursor is one sorted input of a merge; cursors is the heap of them.
type cursor struct {
	change Change
	next   func() (Change, error)
}

func (c *cursor) advance() (more bool, err error) {
	c.change, err = c.next()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

type cursors []*cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return c[i].change.Seq < c[j].change.Seq }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)        { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}
