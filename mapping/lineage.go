package mapping

import (
	"hash/maphash"

	"github.com/iam-relay/iam-relay/cdc"
)

// Lineage follows rows whose keys change, through the changes of one transaction in their order. After it the changes of a key
// can be folded without those of any other key: what a moved row was before it came to the key is in the change that brings it.
//
// All changes pass through Expect first, then all of them through Follow. It keeps about fifty bytes for each key that a row
// leaves, and what the transaction made of such a row before, if it made anything, in its RowStore.
type Lineage struct {
	left map[[2]uint64]*ancestry // nil: no change of the row under the key has been seen yet
	rows *cdc.RowStore
}

// ancestry is what is known of the row that is under a key.
type ancestry struct {
	born   bool // by the transaction
	origin cdc.Key
	last   cdc.StoredRow
}

// NewLineage returns a Lineage that keeps rows in the store, which the caller closes.
func NewLineage(rows *cdc.RowStore) *Lineage {
	return &Lineage{left: map[[2]uint64]*ancestry{}, rows: rows}
}

// Expect notes which keys rows leave.
func (l *Lineage) Expect(c *cdc.Change) {
	if c.Moved {
		l.left[hashRow(c.Relation.Table, c.From)] = nil
	}
}

// Follow completes a change. A Moved one is given the values that earlier changes of the row have, and its From becomes the key
// under which the row was before the transaction. A row that was not there before, or is back under its key, did not move.
func (l *Lineage) Follow(c *cdc.Change) error {
	if c.New == nil {
		return nil // The next change of the key, if any, is an insert.
	}
	table := c.Relation.Table
	now := ancestry{born: c.Op == cdc.Insert, origin: c.Key}
	before, key := (*ancestry)(nil), hashRow(table, c.Key)
	at, leaves := l.left[key]
	switch {
	case c.Moved:
		now.born, now.origin = false, c.From
		before = l.left[hashRow(table, c.From)]
	case c.Op == cdc.Update:
		before = at
	}
	if before != nil {
		now.born, now.origin = before.born, before.origin
		last, err := l.rows.Get(before.last)
		if err != nil {
			return err
		}
		fillUnchanged(c.New, last)
	}
	if c.Moved {
		c.Moved, c.From = !now.born && now.origin != c.Key, now.origin
	}
	if !c.Moved {
		c.From = ""
	}
	if !leaves {
		return nil
	}
	var err error
	now.last, err = l.rows.Put(c.New)
	l.left[key] = &now
	return err
}

var rowSeeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

// hashRow stands for a row's key where a million of them must not be kept as text. It differs from process to process, so
// nothing but equality may depend on it.
func hashRow(table *cdc.Table, key cdc.Key) [2]uint64 {
	id := rowID{table, key}
	return [2]uint64{maphash.Comparable(rowSeeds[0], id), maphash.Comparable(rowSeeds[1], id)}
}
