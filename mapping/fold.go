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
	type rowID struct {
		table *cdc.Table
		key   cdc.Key
	}
	type state struct {
		existed bool
		out     int     // The row's place in the result.
		last    cdc.Row // The row as last seen, kept over a delete for the new key that follows it.
		from    cdc.Key // Where what is Unchanged in last is found, if not under the row's own key; kept likewise.
	}
	states := make(map[rowID]*state, len(changes))
	folded := changes[:0]
	for _, c := range changes {
		table := c.Relation.Table
		if c.Op == cdc.Truncate {
			for id, s := range states {
				if id.table == table {
					folded[s.out].Op, folded[s.out].New, folded[s.out].From = cdc.Delete, nil, ""
				}
			}
			folded = append(folded, c)
			continue
		}
		if c.From != "" {
			if from := states[rowID{table, c.From}]; from != nil {
				fillUnchanged(c.New, from.last)
				if from.from != "" { // It had come there from elsewhere.
					c.From = from.from
				}
			}
		}
		id := rowID{table, c.Key}
		s := states[id]
		if s == nil {
			s = &state{existed: c.Op != cdc.Insert, out: len(folded), last: c.New, from: c.From}
			if c.Op == cdc.Delete {
				s.last = c.Old
			}
			states[id] = s
			folded = append(folded, c)
			continue
		}
		net := &folded[s.out]
		net.Relation = c.Relation
		if c.Op == cdc.Delete {
			net.Op, net.New, net.From = cdc.Delete, nil, ""
			continue
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
	// Rows that neither were there before nor are after leave nothing.
	kept := folded[:0]
	for i := range folded {
		c := &folded[i]
		if c.Op == cdc.Delete {
			if s := states[rowID{c.Relation.Table, c.Key}]; s != nil && !s.existed {
				continue
			}
		}
		kept = append(kept, *c)
	}
	clear(changes[len(kept):])
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
