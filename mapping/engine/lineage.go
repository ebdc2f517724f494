package engine

import (
	"hash/maphash"

	"github.com/iam-relay/iam-relay/cdc"
)

// Lineage follows rows whose keys change through the changes of one transaction. It adds the earlier values of a moved row to
// the change that brings the row to a new key, so that the changes of one key can then be folded without those of another.
//
// Pass all changes to Expect first, and then all of them to Follow, both times in their order. Lineage needs about fifty bytes
// of memory for each key that a row leaves. The values that such a row had are kept in the RowStore.
type Lineage struct {
	left map[[2]uint64]*ancestry // by hashed key; nil until a change of the row under that key was followed
	rows *cdc.RowStore
}

// ancestry describes the row that is stored under a key.
type ancestry struct {
	inserted bool // by this transaction
	origin   cdc.Key
	last     cdc.StoredRow
}

// NewLineage returns a Lineage that keeps rows in the store. The caller closes the store.
func NewLineage(rows *cdc.RowStore) *Lineage {
	return &Lineage{left: map[[2]uint64]*ancestry{}, rows: rows}
}

// Expect notes the keys that rows leave.
func (l *Lineage) Expect(c *cdc.Change) {
	if c.Moved {
		l.left[hashRow(c.Relation.Table, c.OldKey)] = nil
	}
}

// Follow completes a change. A Moved change gets the values that earlier changes gave the row, and its From becomes the key
// under which the row was stored before the transaction. The change of a row that did not exist then, or that returned to
// its key, is no longer Moved.
func (l *Lineage) Follow(c *cdc.Change) error {
	if c.New == nil {
		return nil // The next change of this key, if any, is an insert.
	}
	table := c.Relation.Table
	now := ancestry{inserted: c.Op == cdc.Insert, origin: c.Key}
	before, key := (*ancestry)(nil), hashRow(table, c.Key)
	at, leaves := l.left[key]
	switch {
	case c.Moved:
		now.inserted, now.origin = false, c.OldKey
		before = l.left[hashRow(table, c.OldKey)]
	case c.Op == cdc.Update:
		before = at
	}
	if before != nil {
		now.inserted, now.origin = before.inserted, before.origin
		last, err := l.rows.Get(before.last)
		if err != nil {
			return err
		}
		fillUnchanged(c.New, last)
	}
	if c.Moved {
		c.Moved, c.OldKey = !now.inserted && now.origin != c.Key, now.origin
	}
	if !c.Moved {
		c.OldKey = ""
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

// hashRow returns a 128-bit hash in place of a row's key, because millions of keys may have to be kept. The hash differs from
// process to process: use it for equality only.
func hashRow(table *cdc.Table, key cdc.Key) [2]uint64 {
	id := rowID{table, key}
	return [2]uint64{maphash.Comparable(rowSeeds[0], id), maphash.Comparable(rowSeeds[1], id)}
}
