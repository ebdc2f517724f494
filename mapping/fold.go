package mapping

import "github.com/iam-relay/iam-relay/cdc"

// Fold reduces the changes of a transaction, or of a part of one, to at most one net change per row, at the Seq of the
// row's first change, so that a parent inserted before its child stays before it. A row inserted and deleted again is no
// change at all; a row deleted and inserted again is an update.
//
// Values that a later change left out as Unchanged are taken from the earlier one, also across a change of the key. Those that
// remain Unchanged are older than the part: [Resolve] finds them.
//
// A Truncate stays where it is and ends the rows of its table that came before it; expand it into deletes of the mirrored
// rows before folding. The result reuses the given slice.
func Fold(changes []cdc.Change) []cdc.Change {
	if len(changes) < 2 {
		return changes
	}
	f := Folding{net: changes[:0]} // which never overtakes what is read
	f.Add(changes)
	kept := f.Net()
	clear(changes[len(kept):])
	return kept
}

// Folding is a Fold of changes that come piece by piece, in the order of Seq. It holds what it keeps of each row, however
// often the row changes.
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
	out     int     // The row's place in the result.
	last    cdc.Row // The row as last seen, kept over a delete for the new key that follows it.
	from    cdc.Key // Where what is Unchanged in last is found, if not under the row's own key; kept likewise.
}

// Add takes the next changes. It fills values in their rows; the slice itself is not kept.
func (f *Folding) Add(changes []cdc.Change) {
	if f.states == nil {
		f.states = make(map[rowID]*folded, len(changes))
	}
	for _, c := range changes {
		f.add(c)
	}
}

func (f *Folding) add(c cdc.Change) {
	table := c.Relation.Table
	if c.Op == cdc.Truncate {
		for id, s := range f.states {
			if id.table == table {
				f.net[s.out].Op, f.net[s.out].New, f.net[s.out].From = cdc.Delete, nil, ""
			}
		}
		f.net = append(f.net, c)
		return
	}
	if c.From != "" {
		if from := f.states[rowID{table, c.From}]; from != nil {
			fillUnchanged(c.New, from.last)
			if from.from != "" { // It had come there from elsewhere.
				c.From = from.from
			}
		}
	}
	id := rowID{table, c.Key}
	s := f.states[id]
	if s == nil {
		s = &folded{existed: c.Op != cdc.Insert, out: len(f.net), last: c.New, from: c.From}
		if c.Op == cdc.Delete {
			s.last = c.Old
		}
		f.states[id] = s
		f.net = append(f.net, c)
		return
	}
	net := &f.net[s.out]
	net.Relation = c.Relation
	if c.Op == cdc.Delete {
		net.Op, net.New, net.From = cdc.Delete, nil, ""
		return
	}
	if c.Op == cdc.Update {
		fillUnchanged(c.New, s.last)
	}
	if c.Op == cdc.Insert {
		net.From, s.from = c.From, c.From
	}
	net.New, s.last = c.New, c.New
	net.Op = cdc.Insert
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
			if s := f.states[rowID{c.Relation.Table, c.Key}]; s != nil && !s.existed {
				continue
			}
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
