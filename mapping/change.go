package mapping

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// rowChange is a resolved change as the rules see it.
type rowChange struct {
	bound *boundTable
	// op, with a soft delete as a delete.
	op cdc.Op
	// row is the row as it is after, or was before a delete; old the row before, nil on an insert.
	row, old cdc.Row
}

// see prepares a change for the rules. ok is false if it concerns none.
func (m *Mapper) see(c *cdc.Change) (seen rowChange, ok bool, err error) {
	b, err := m.tableOf(c.Relation)
	if b == nil || err != nil {
		return rowChange{}, false, err
	}
	seen = rowChange{bound: b, op: c.Op, row: c.New, old: c.Old}
	switch c.Op {
	case cdc.Insert:
		seen.old = nil
	case cdc.Update:
	case cdc.Delete:
		seen.row = c.Old
	default:
		return seen, false, nil
	}
	if b.table.deleted == nil {
		return seen, true, nil
	}
	seen, ok = m.softly(seen)
	return seen, ok, nil
}

// softly turns the transition into the deleted state into a delete, and back into an insert.
func (m *Mapper) softly(seen rowChange) (rowChange, bool) {
	now := m.gone(seen.bound, seen.row)
	if seen.op != cdc.Update {
		return seen, !now
	}
	before := m.gone(seen.bound, seen.old)
	switch {
	case before && now:
		return seen, false
	case now:
		seen.op, seen.row = cdc.Delete, seen.old
	case before:
		seen.op, seen.old = cdc.Insert, nil
	}
	return seen, true
}

// gone reports whether a row is deleted softly.
func (m *Mapper) gone(b *boundTable, row cdc.Row) bool {
	if b.table.deleted == nil {
		return false
	}
	m.eval.scope = scope{bound: b, row: row}
	return m.eval.holds(b.table.deleted)
}

// compare notes in m.differs which columns of an update differ. A column that only the new row has was mapped or added
// since: that is no change of the row. In an update of a row that the mirror lacks, everything counts as changed.
func (m *Mapper) compare(seen rowChange) {
	t := seen.bound.table
	m.differs = slices.Grow(m.differs[:0], len(t.cdc.Columns))[:len(t.cdc.Columns)]
	unknown := !slices.ContainsFunc(seen.old[min(t.cdc.KeyColumns, len(seen.old)):], func(v cdc.Value) bool { return v.Kind != cdc.Absent })
	for i := range m.differs {
		before, after := at(seen.old, i), at(seen.row, i)
		m.differs[i] = before != after && ((before.Known() && after.Known()) || unknown)
	}
}

// touches reports whether an update changes what the rule is about.
func (r *rule) touches(differs []bool) bool {
	if r.changed != nil {
		return slices.ContainsFunc(r.changed, func(column int) bool { return differs[column] })
	}
	for i, d := range differs {
		if d && r.table.payload[i] {
			return true
		}
	}
	return false
}
