package engine

import "github.com/iam-relay/iam-relay/cdc"

// Fold reduces the changes of a transaction to at most one net change per row, at the position of the row's first change, so
// that a parent that was inserted before its child stays before it. A row that was inserted and deleted again leaves no
// change; a row that was deleted and inserted again is an update.
//
// A value that a later change left out as Unchanged is taken from the earlier one, also if the key changed in between.
// Values that remain Unchanged are older than the transaction; [Resolve] fills them.
//
// A Truncate deletes the rows of its table that were changed before it, and is dropped. The caller must expand it into
// deletes of the mirrored rows before folding. The result reuses the given slice.
func Fold(changes []cdc.Change) ([]cdc.Change, error) {
	lineage := NewLineage(cdc.NewRowStore("", 0))
	for i := range changes {
		lineage.Expect(&changes[i])
	}
	if len(lineage.left) > 0 {
		for i := range changes {
			if err := lineage.Follow(&changes[i]); err != nil {
				return nil, err
			}
		}
	}
	f := Folding{net: changes[:0]} // It never overtakes the changes that Add reads.
	f.Add(changes)
	kept := f.Net()
	clear(changes[len(kept):])
	return kept, nil
}

// Folding does the work of Fold for changes that arrive in parts, in their order and after a [Lineage]. Its memory depends on
// the number of rows, not on the number of changes. Each key is folded on its own, so the changes of some keys can be folded
// without the others.
type Folding struct {
	states map[rowID]*foldState
	net    []cdc.Change
}

type rowID struct {
	table *cdc.Table
	key   cdc.Key
}

// foldState is the state of a row in a Folding.
type foldState struct {
	existed bool // before the transaction
	index   int  // of the net change
}

// Add adds the next changes. It fills values in their rows but does not keep the slice.
func (f *Folding) Add(changes []cdc.Change) {
	if f.states == nil {
		f.states = make(map[rowID]*foldState, len(changes))
	}
	for _, c := range changes {
		if c.Op == cdc.Truncate {
			f.truncate(c.Relation.Table)
		} else {
			f.add(c)
		}
	}
}

func (f *Folding) truncate(table *cdc.Table) {
	for id, s := range f.states {
		if id.table == table {
			f.net[s.index].Op, f.net[s.index].New = cdc.Delete, nil
		}
	}
}

func (f *Folding) add(c cdc.Change) {
	id := rowID{c.Relation.Table, c.Key}
	s := f.states[id]
	if s == nil {
		f.states[id] = &foldState{existed: c.Op != cdc.Insert, index: len(f.net)}
		f.net = append(f.net, c)
		return
	}
	net := &f.net[s.index]
	net.Relation = c.Relation
	switch c.Op {
	case cdc.Delete:
		net.Op, net.New = cdc.Delete, nil
		return
	case cdc.Update:
		fillUnchanged(c.New, net.New)
	default:
		net.Moved, net.OldKey = c.Moved, c.OldKey
	}
	net.Op, net.New = cdc.Insert, c.New
	if s.existed {
		net.Op = cdc.Update
	}
}

// Net ends the folding and returns the net changes.
func (f *Folding) Net() []cdc.Change {
	kept := f.net[:0]
	for i := range f.net {
		c := &f.net[i]
		if c.Op == cdc.Delete {
			if s := f.states[rowID{c.Relation.Table, c.Key}]; !s.existed {
				continue // The row was inserted and deleted in this transaction.
			}
			c.Moved, c.OldKey = false, ""
		}
		kept = append(kept, *c)
	}
	return kept
}

// fillUnchanged replaces the Unchanged values of row by the known values of older.
func fillUnchanged(row, older cdc.Row) {
	for i := range row {
		if row[i].Kind == cdc.Unchanged && i < len(older) && older[i].Kind != cdc.Absent {
			row[i] = older[i]
		}
	}
}
