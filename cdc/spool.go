package cdc

import (
	"errors"
	"slices"
)

// DefaultMemoryLimit is how many bytes of one transaction are kept in memory.
const DefaultMemoryLimit = 4 << 20

// partLimits is how much memory reading a part may take, in multiples of the memory limit.
const partLimits = 4

// Spool collects the changes of one transaction: in memory up to a limit, beyond it in a temporary file. Changes can be added
// in any order and come out in the order of Seq and Sub. They should be mostly ordered: every change that precedes the last one
// of its part costs memory.
type Spool struct {
	dir   string
	limit int

	content
	index   map[*Relation]int
	scratch []byte
}

// content is what a Spool passes to its Transaction.
type content struct {
	changes []Change // all changes, as long as there is no file
	count   int
	bytes   int
	moves   bool // some change is Moved

	file *spillFile
	// truncates belong to every part. They are few and stay in memory.
	truncates []Change
	relations []*Relation // the file refers to a relation by its index here
}

// NewSpool returns a Spool that keeps up to limit bytes in memory (0 is DefaultMemoryLimit) and creates its file in dir (empty
// is the system's directory for temporary files).
func NewSpool(dir string, limit int) *Spool {
	if limit <= 0 {
		limit = DefaultMemoryLimit
	}
	return &Spool{dir: dir, limit: limit}
}

// Add adds a change. Adding a Truncate with the same Seq and Sub again has no effect, because every part contains all of them.
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

// sorted sorts the changes in memory, which mostly are in order.
func (s *Spool) sorted() []Change {
	inOrder := func(a, b Change) int { return a.ordinal().compare(b.ordinal()) }
	if !slices.IsSortedFunc(s.changes, inOrder) {
		slices.SortStableFunc(s.changes, inOrder)
	}
	return s.changes
}

// Transaction returns a Transaction with the changes, which takes over the temporary file. The caller sets its other fields and
// must not use the Spool any more.
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

// Close removes the temporary file of a Spool that did not become a Transaction. It may be called more than once.
func (s *Spool) Close() error { return s.close() }

func (c *content) close() error {
	file := c.file
	*c = content{}
	if file == nil {
		return nil
	}
	return file.close()
}

// partOf returns the part of a key. The keys of one part are spread over all parts of the next level. The hash is fixed
// (FNV-1a, finalized as in MurmurHash3), so that a failure is reproducible in another process.
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
