package engine

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// OwnerColumns returns, for each table whose rows are looked up by their parent, the column that holds the parent's key, as an
// index into its Columns. It is the By of every Ref to the table.
func (m *Mapper) OwnerColumns() map[*cdc.Table]int {
	owners := map[*cdc.Table]int{}
	for _, b := range m.binding.Tables {
		if b.Table.Collected {
			owners[b.Table.CDC] = b.Table.CollectedBy
		}
	}
	return owners
}

// Refs reports the mirrored rows that mapping a resolved change needs: the parents on the path to the tenant, the parents that
// data and conditions use, and the children that data collects. It does not report the row of c itself, which the caller has
// fetched for Resolve. It may report a row more than once.
func (m *Mapper) Refs(c *cdc.Change, need func(Ref)) {
	change, ok, err := m.rowChangeOf(c)
	if err != nil || change.bound == nil {
		return // Map returns the error.
	}
	t := change.bound.Table
	m.childRefs(t, c, need)
	if !ok {
		return
	}
	if (t.IsParent || t.Embedded || len(t.Children) > 0) && c.New != nil {
		m.refsOf(t, c.New, need) // Events of other rows may include this one.
	}
	if change.op == cdc.Update {
		m.findDifferences(change)
	}
	first := true
	for _, r := range t.Rules[change.op] {
		if change.op == cdc.Update && !r.Watches(m.differs) {
			continue
		}
		if first {
			m.tenantRefs(t, change.row, need)
			first = false
		}
		for _, i := range r.Parents {
			m.parentRef(t.Parents[i], change.row, need)
		}
		m.collectRefs(r.Collected, change.row, change.op == cdc.Delete, need)
	}
}

// RefsOf reports the rows that a fetched row needs in turn. Fetch what Refs and RefsOf report until they report nothing new.
func (m *Mapper) RefsOf(table *cdc.Table, row cdc.Row, need func(Ref)) {
	if b := m.binding.ByCDC[table]; b != nil && row != nil {
		m.refsOf(b.Table, row, need)
	}
}

// childRefs reports the parents of a changed child, and their children before and after the transaction.
func (m *Mapper) childRefs(t *rules.Table, c *cdc.Change, need func(Ref)) {
	if c.Op == cdc.Truncate {
		return
	}
	for _, of := range t.ChildOf {
		if m.binding.Tables[of.Parent.Index].Relation == nil {
			continue
		}
		eachParent(c, of.Children.By, func(parent cdc.Key) {
			need(Ref{Table: of.Parent.CDC, Key: parent})
			need(Ref{Table: t.CDC, Key: parent, By: of.Children.By})
			need(Ref{Table: t.CDC, Key: parent, By: of.Children.By, Before: true})
		})
	}
}

func (m *Mapper) refsOf(t *rules.Table, row cdc.Row, need func(Ref)) {
	m.tenantRefs(t, row, need)
	if len(t.Children) > 0 { // A change of its children is an update of the row.
		for _, r := range t.Rules[cdc.Update] {
			for _, i := range r.Parents {
				m.parentRef(t.Parents[i], row, need)
			}
			m.collectRefs(r.Collected, row, false, need)
		}
	}
	if !t.Embedded {
		return
	}
	var n rules.NeededRows
	n.AddFields(t.Object)
	for _, i := range n.Parents {
		m.parentRef(t.Parents[i], row, need)
	}
	m.collectRefs(n.Collected, row, false, need)
}

// tenantRefs reports the next rows on the path to the tenant.
func (m *Mapper) tenantRefs(t *rules.Table, row cdc.Row, need func(Ref)) {
	for _, i := range t.ToTenant {
		m.parentRef(t.Parents[i], row, need)
	}
}

func (m *Mapper) parentRef(p rules.Parent, row cdc.Row, need func(Ref)) {
	if v := rules.ValueAt(row, p.Column); v.Kind == cdc.Text && m.binding.Tables[p.Table.Index].Relation != nil {
		need(Ref{Table: p.Table.CDC, Key: cdc.Key(v.Text)})
	}
}

func (m *Mapper) collectRefs(collected []*rules.Collect, row cdc.Row, before bool, need func(Ref)) {
	for _, c := range collected {
		if v := rules.ValueAt(row, 0); v.Kind == cdc.Text && m.binding.Tables[c.Table.Index].Relation != nil {
			need(Ref{Table: c.Table.CDC, Key: cdc.Key(v.Text), By: c.By, Before: before})
		}
	}
}
