package mapping

import "github.com/iam-relay/iam-relay/cdc"

// Fold reduces the changes of a transaction to at most one net change per row, at the place of the row's first change, so that a
// parent inserted before its child stays before it. A row inserted and deleted again is no change at all; a row deleted and
// inserted again is an update.
//
// Values that a later change left out as Unchanged are taken from the earlier one, also across a change of the key. Those that
// remain Unchanged are older than the transaction: [Resolve] finds them.
//
// A Truncate ends the rows of its table that came before it, and is dropped; expand it into deletes of the mirrored rows before
// folding. The result reuses the given slice.
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
	f := Folding{net: changes[:0]} // which never overtakes what is read
	f.Add(changes)
	kept := f.Net()
	clear(changes[len(kept):])
	return kept, nil
}

// Folding is a Fold of changes that come piece by piece, in their order, after a [Lineage]. It holds what it keeps of each row,
// however often the row changes, and looks at each key on its own, so the changes of some keys can be folded without the others.
type Folding struct {
	states map[rowID]*folded
	net    []cdc.Change
}

type rowID struct {
	table *cdc.Table
	key   cdc.Key
}

// folded is what a Folding knows of a row.
type folded struct {
	existed bool
	out     int // The row's place in the result.
}

// Add takes the next changes. It fills values in their rows; the slice itself is not kept.
func (f *Folding) Add(changes []cdc.Change) {
	if f.states == nil {
		f.states = make(map[rowID]*folded, len(changes))
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
			f.net[s.out].Op, f.net[s.out].New = cdc.Delete, nil
		}
	}
}

func (f *Folding) add(c cdc.Change) {
	id := rowID{c.Relation.Table, c.Key}
	s := f.states[id]
	if s == nil {
		f.states[id] = &folded{existed: c.Op != cdc.Insert, out: len(f.net)}
		f.net = append(f.net, c)
		return
	}
	net := &f.net[s.out]
	net.Relation = c.Relation
	switch c.Op {
	case cdc.Delete:
		net.Op, net.New = cdc.Delete, nil
		return
	case cdc.Update:
		fillUnchanged(c.New, net.New)
	default:
		net.Moved, net.From = c.Moved, c.From
	}
	net.Op, net.New = cdc.Insert, c.New
	if s.existed {
		net.Op = cdc.Update
	}
}

// Net ends the folding and returns the net changes.
func (f *Folding) Net() []cdc.Change {
	// Rows that neither were there before nor are after leave nothing.
	kept := f.net[:0]
	for i := range f.net {
		c := &f.net[i]
		if c.Op == cdc.Delete {
			if s := f.states[rowID{c.Relation.Table, c.Key}]; !s.existed {
				continue
			}
			c.Moved, c.From = false, ""
		}
		kept = append(kept, *c)
	}
	return kept
}

// fillUnchanged puts the known values of older where row says Unchanged.
func fillUnchanged(row, older cdc.Row) {
	for i := range row {
		if row[i].Kind == cdc.Unchanged && i < len(older) && older[i].Kind != cdc.Absent {
			row[i] = older[i]
		}
	}
}
