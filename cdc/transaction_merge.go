package cdc

import (
	"container/heap"
	"errors"
	"io"
	"iter"
)

// part yields one part, including the truncations.
func (t *Transaction) part(file *spillFile, i int) iter.Seq2[Change, error] {
	return t.merged(file, file.parts[i:i+1])
}

// merged yields the changes of several parts in order, including the truncations.
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

// cursors opens a cursor for each run, and one for the truncations.
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

func (t *Transaction) read(at ordinal, records *recordReader) (Change, error) {
	text, err := records.text()
	if err != nil {
		return Change{}, err
	}
	return readChange(at, text, t.content.relations)
}

// cursor is one sorted input of a merge: a run, or the truncations. It keeps only the ordinal of the next change in memory.
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

// cursors is a heap. No two inputs contain the same ordinal, so the result does not depend on the heap.
type cursors []*cursor

func (c cursors) Len() int { return len(c) }

func (c cursors) Less(i, j int) bool { return c[i].at.before(c[j].at) }

func (c cursors) Swap(i, j int) { c[i], c[j] = c[j], c[i] }

func (c *cursors) Push(x any) { *c = append(*c, x.(*cursor)) }

func (c *cursors) Pop() any {
	last := len(*c) - 1
	x := (*c)[last]
	*c = (*c)[:last]
	return x
}
