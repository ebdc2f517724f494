package cdc

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
)

// DefaultMemoryLimit is how many bytes of one transaction are kept in memory.
const DefaultMemoryLimit = 4 << 20

// partLimits is how many times that limit a part may take to be read.
const partLimits = 4

// Spool collects the changes of one transaction: in memory up to a limit, beyond it in a temporary file. Changes of
// one key must come in the order of Seq; those of different keys may come in any, as a consumer that works part by part
// gives them back.
type Spool struct {
	dir   string
	limit int

	content
	index   map[*Relation]int
	last    []int // the Seq last written to each part
	scratch []byte
}

// content is what a Spool hands to its Transaction.
type content struct {
	changes []Change // all of them, as long as there is no file
	count   int
	bytes   int
	moves   bool // some change has From and lacks values

	file *spillFile
	// truncates concern every part. They are few and stay in memory.
	truncates []Change
	relations []*Relation // the file names a relation by its place here
}

// NewSpool returns a Spool that keeps up to limit bytes (0: DefaultMemoryLimit) in memory and puts its file into dir (empty:
// the system's directory for temporary files).
func NewSpool(dir string, limit int) *Spool {
	if limit <= 0 {
		limit = DefaultMemoryLimit
	}
	return &Spool{dir: dir, limit: limit}
}

// Add adds a change. A Truncate may be added again with the same Seq, which changes nothing: it is a part of every part.
func (s *Spool) Add(c Change) error {
	s.moves = s.moves || (c.From != "" && slices.ContainsFunc(c.New, func(v Value) bool { return v.Kind == Unchanged }))
	if s.file != nil {
		return s.spill(&c)
	}
	if c.Op == Truncate && slices.ContainsFunc(s.changes, func(o Change) bool { return o.Op == Truncate && o.Seq == c.Seq }) {
		return nil
	}
	s.changes = append(s.changes, c)
	s.count++
	if s.bytes += c.Size(); s.bytes <= s.limit {
		return nil
	}
	file, err := newSpillFile(s.dir, 0)
	if err != nil {
		return err
	}
	s.file, s.index, s.last = file, map[*Relation]int{}, make([]int, spillParts)
	changes := s.sorted()
	s.changes, s.count, s.bytes = nil, 0, 0
	for i := range changes {
		if err := s.spill(&changes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Spool) spill(c *Change) error {
	if c.Op == Truncate {
		at, found := slices.BinarySearchFunc(s.truncates, c.Seq, func(t Change, seq int) int { return cmp.Compare(t.Seq, seq) })
		if !found {
			s.truncates = slices.Insert(s.truncates, at, *c)
			s.count++
			s.bytes += c.Size()
		}
		return nil
	}
	relation, ok := s.index[c.Relation]
	if !ok {
		relation = len(s.relations)
		s.index[c.Relation] = relation
		s.relations = append(s.relations, c.Relation)
	}
	part := partOf(c.Key, 0)
	if c.Seq < s.last[part] {
		return fmt.Errorf("change %d comes after change %d of the same part", c.Seq, s.last[part])
	}
	s.last[part] = c.Seq
	s.scratch = appendChange(s.scratch[:0], c, relation)
	s.count++
	return s.file.write(c.Seq, c.Key, s.scratch)
}

// sorted puts the changes in memory into the order of Seq, in which they mostly are.
func (s *Spool) sorted() []Change {
	bySeq := func(a, b Change) int { return cmp.Compare(a.Seq, b.Seq) }
	if !slices.IsSortedFunc(s.changes, bySeq) {
		slices.SortStableFunc(s.changes, bySeq)
	}
	return s.changes
}

// Transaction returns the changes as a Transaction, whose other fields the caller sets, and which now owns the
// temporary file. The Spool must not be used any more.
func (s *Spool) Transaction() (*Transaction, error) {
	if s.file == nil {
		s.sorted()
	} else if err := s.file.finish(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	t := &Transaction{content: s.content, partLimit: partLimits * int64(s.limit)}
	s.content = content{}
	return t, nil
}

// Close removes the temporary file of a Spool that did not become a Transaction. It may be called at any time.
func (s *Spool) Close() error { return s.close() }

func (c *content) close() error {
	file := c.file
	*c = content{}
	if file == nil {
		return nil
	}
	return file.close()
}

var partSeed = maphash.MakeSeed()

// partOf is the same for all spools of the process. What one level puts into one part, the next one spreads over all.
func partOf(key Key, level int) int {
	hash := maphash.String(partSeed, string(key))
	for range level {
		hash /= spillParts
	}
	return int(hash % spillParts)
}

// Size estimates the memory that a change holds: its own fields, its values' headers and their texts.
func (c *Change) Size() int {
	const change, value = 112, 24
	n := change + len(c.Key) + len(c.From) + value*(len(c.New)+len(c.Old))
	for i := range c.New {
		n += len(c.New[i].Text)
	}
	for i := range c.Old {
		n += len(c.Old[i].Text)
	}
	return n
}
