package cdc

import (
	"errors"
	"slices"
)

// DefaultMemoryLimit is how many bytes of one transaction are kept in memory.
const DefaultMemoryLimit = 4 << 20

// partLimits is how many times that limit a part may take to be read.
const partLimits = 4

// Spool collects the changes of one transaction: in memory up to a limit, beyond it in a temporary file. They may come in any
// order, as a consumer that works part by part gives them back, and come out in the order of Seq and Sub. Each time that one
// comes before the last one of its part costs some memory, so they should mostly be in order.
type Spool struct {
	dir   string
	limit int

	content
	index   map[*Relation]int
	scratch []byte
}

// content is what a Spool hands to its Transaction.
type content struct {
	changes []Change // all of them, as long as there is no file
	count   int
	bytes   int
	moves   bool // some change is Moved

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

// Add adds a change. A Truncate may be added again at the same place, which changes nothing: it is a part of every part.
func (s *Spool) Add(c Change) error {
	s.moves = s.moves || c.Moved
	if s.file != nil {
		return s.spill(&c)
	}
	if c.Op == Truncate && slices.ContainsFunc(s.changes, func(o Change) bool { return o.Op == Truncate && o.ordinal() == c.ordinal() }) {
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
	s.file, s.index = file, map[*Relation]int{}
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
		at, found := slices.BinarySearchFunc(s.truncates, c.ordinal(), func(t Change, at ordinal) int { return t.ordinal().compare(at) })
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
	s.scratch = appendChange(s.scratch[:0], c, relation)
	s.count++
	return s.file.write(c.ordinal(), c.Key, s.scratch)
}

// sorted puts the changes in memory into their order, in which they mostly are.
func (s *Spool) sorted() []Change {
	inOrder := func(a, b Change) int { return a.ordinal().compare(b.ordinal()) }
	if !slices.IsSortedFunc(s.changes, inOrder) {
		slices.SortStableFunc(s.changes, inOrder)
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

// partOf is the same for all spools. What one level puts into one part, the next one spreads over all. The hash is a fixed one
// (FNV-1a, mixed as in MurmurHash3), so that a failure can be repeated in another process.
func partOf(key Key, level int) int {
	hash := uint64(14695981039346656037)
	for i := range len(key) {
		hash = (hash ^ uint64(key[i])) * 1099511628211
	}
	hash = (hash ^ hash>>33) * 0xff51afd7ed558ccd
	hash ^= hash >> 33
	for range level {
		hash /= spillParts
	}
	return int(hash % spillParts)
}

// Size estimates the memory that a change holds: its own fields, its values' headers and their texts.
func (c *Change) Size() int {
	const change, value = 128, 24
	n := change + len(c.Key) + len(c.From) + value*(len(c.New)+len(c.Old))
	for i := range c.New {
		n += len(c.New[i].Text)
	}
	for i := range c.Old {
		n += len(c.Old[i].Text)
	}
	return n
}
