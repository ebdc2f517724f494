package cdc

import (
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

	content   content
	partLimit int64
	weight    int64
	closed    func(weight int64) // tells the Source, once
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

// Moves reports whether the key of some row changed.
func (t *Transaction) Moves() bool { return t.content.moves }

// Changes returns all changes in their order, or nil if they are Spilled.
func (t *Transaction) Changes() []Change { return t.content.changes }

// EachPart hands over the changes part by part, each in the order of Seq and Sub: as one part, or, if they are Spilled, as many. All
// changes of one key are in the same part, and a Truncate is in every one. (A Moved Insert is in the part of its new key.)
//
// A part has little beside the changes of one key that is changed very often: what a reader keeps of each key, in place of
// each change, stays within four times the memory limit, up to transactions of some thousand times that.
//
// busy is called now and then while the file is worked on and nothing can be handed over.
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

// eachFine hands over a part that is too large as parts of its own.
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

// part yields one part and the truncations.
func (t *Transaction) part(file *spillFile, i int) iter.Seq2[Change, error] {
	return t.merged(file, file.parts[i:i+1])
}

func (t *Transaction) read(at ordinal, records *recordReader) (Change, error) {
	text, err := records.text()
	if err != nil {
		return Change{}, err
	}
	return readChange(at, text, t.content.relations)
}

// All yields all changes in the order of Seq and Sub, a Truncate once, holding about a megabyte of a spilled transaction at a time.
// After an error it yields nothing more.
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

// merged yields the changes of parts, and the truncations.
func (t *Transaction) merged(file *spillFile, chains []spillPart) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if err := t.merge(file, chains, func(c Change) bool { return yield(c, nil) }); err != nil {
			yield(Change{}, err)
		}
	}
}

func (t *Transaction) merge(file *spillFile, chains []spillPart, yield func(Change) bool) error {
	sources, err := t.cursors(file, chains)
	if err != nil {
		return err
	}
	heap.Init(&sources)
	for truncates := t.content.truncates; len(sources) > 0; {
		c := sources[0]
		var change Change
		var more bool
		var err error
		if c.records == nil {
			change, truncates = truncates[0], truncates[1:]
		} else if change, err = t.read(c.at, c.records); err != nil {
			return err
		}
		if !yield(change) {
			return nil
		}
		if c.records != nil {
			more, err = c.advance()
		} else if more = len(truncates) > 0; more {
			c.at = truncates[0].ordinal()
		}
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

// cursors begins to read each run, and the truncations.
func (t *Transaction) cursors(file *spillFile, chains []spillPart) (cursors, error) {
	var sources cursors
	if len(t.content.truncates) > 0 {
		sources = append(sources, &cursor{at: t.content.truncates[0].ordinal()})
	}
	runs := 0
	for i := range chains {
		runs += len(chains[i].runs)
	}
	buffer := min(max(spillBuffers/max(runs, 1), minBuffer), spillBlock)
	scratch := new([]byte)
	for i := range chains {
		for _, run := range chains[i].runs {
			c := &cursor{records: file.records(run, buffer, scratch)}
			more, err := c.advance()
			if err != nil {
				return nil, err
			}
			if more {
				sources = append(sources, c)
			}
		}
	}
	return sources, nil
}

// Close removes the temporary file. It may be called again.
func (t *Transaction) Close() error {
	if t.closed != nil {
		t.closed(t.weight)
		t.closed = nil
	}
	return t.content.close()
}

// cursor is one sorted input of a merge: a run, or the truncations. Of each only the next place is in memory. cursors is the heap
// of them. A place is in only one of them, so the order does not depend on the heap.
type cursor struct {
	at      ordinal
	records *recordReader // nil for the truncations
}

func (c *cursor) advance() (more bool, err error) {
	c.at, err = c.records.ordinal()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

type cursors []*cursor

func (c cursors) Len() int           { return len(c) }
func (c cursors) Less(i, j int) bool { return c[i].at.before(c[j].at) }
func (c cursors) Swap(i, j int)      { c[i], c[j] = c[j], c[i] }
func (c *cursors) Push(x any)        { *c = append(*c, x.(*cursor)) }
func (c *cursors) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}
