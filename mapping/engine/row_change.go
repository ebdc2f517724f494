package engine

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// rowChange is a resolved change in the form in which rules are applied to it.
type rowChange struct {
	bound *rules.BoundTable
	op    cdc.Op // with a soft delete as a delete
	// row is the row after the change, or before a delete. old is the row before the change; nil on an insert.
	row, old cdc.Row
}

// rowChangeOf prepares a change for the rules. ok is false if no rule can apply to it.
func (m *Mapper) rowChangeOf(c *cdc.Change) (change rowChange, ok bool, err error) {
	b, err := m.binding.TableOf(c.Relation)
	if b == nil || err != nil {
		return rowChange{}, false, err
	}
	change = rowChange{bound: b, op: c.Op, row: c.New, old: c.Old}
	switch c.Op {
	case cdc.Insert:
		change.old = nil
	case cdc.Update:
	case cdc.Delete:
		change.row = c.Old
	default:
		return change, false, nil
	}
	if b.Table.Deleted == nil {
		return change, true, nil
	}
	change, ok = m.applySoftDelete(change)
	return change, ok, nil
}

// applySoftDelete turns an update that marks the row as deleted into a delete, and the reverse update into an insert.
func (m *Mapper) applySoftDelete(change rowChange) (rowChange, bool) {
	after := m.isSoftDeleted(change.bound, change.row)
	if change.op != cdc.Update {
		return change, !after
	}
	before := m.isSoftDeleted(change.bound, change.old)
	switch {
	case before && after:
		return change, false
	case after:
		change.op, change.row = cdc.Delete, change.old
	case before:
		change.op, change.old = cdc.Insert, nil
	}
	return change, true
}

func (m *Mapper) isSoftDeleted(b *rules.BoundTable, row cdc.Row) bool {
	if b.Table.Deleted == nil {
		return false
	}
	m.eval.Scope = rules.Scope{Bound: b, Row: row}
	return m.eval.Holds(b.Table.Deleted)
}

// findDifferences sets m.differs: for each column, whether an update changed it. A column that only the new row has was
// mapped or added since the row was mirrored, which is not a change of the row. If the mirror does not have the row at all,
// every column counts as changed.
func (m *Mapper) findDifferences(change rowChange) {
	t := change.bound.Table
	m.differs = slices.Grow(m.differs[:0], len(t.CDC.Columns))[:len(t.CDC.Columns)]
	beyondKey := change.old[min(t.CDC.KeyColumns, len(change.old)):]
	unknown := !slices.ContainsFunc(beyondKey, func(v cdc.Value) bool { return v.Kind != cdc.Absent })
	for i := range m.differs {
		before, after := rules.ValueAt(change.old, i), rules.ValueAt(change.row, i)
		m.differs[i] = before != after && ((before.Known() && after.Known()) || unknown)
	}
}
