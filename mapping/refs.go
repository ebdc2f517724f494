package mapping

import "github.com/iam-relay/iam-relay/cdc"

// OwnerColumns returns, for each table whose rows are looked up by their parent, the column that holds the parent's key, as an
// index into its Columns. It is the By of every Ref to the table.
func (m *Mapper) OwnerColumns() map[*cdc.Table]int {
	owners := map[*cdc.Table]int{}
	for _, b := range m.tables {
		if b.table.collected {
			owners[b.table.cdc] = b.table.collectedBy
		}
	}
	return owners
}

// Refs reports the mirrored rows that mapping a resolved change needs: the parents on the path to the tenant, the parents that
// data and conditions use, and the children that data collects. It does not report the row of c itself, which the caller has
// fetched for Resolve. It may report a row more than once.
func (m *Mapper) Refs(c *cdc.Change, need func(Ref)) {
	change, ok, err := m.rowChangeOf(c)
	if err != nil || !ok {
		return // Map returns the error.
	}
	t := change.bound.table
	if (t.isParent || t.embedded) && c.New != nil {
		m.refsOf(t, c.New, need) // Events of other rows may include this one.
	}
	if change.op == cdc.Update {
		m.findDifferences(change)
	}
	first := true
	for _, r := range t.rules[change.op] {
		if change.op == cdc.Update && !r.watches(m.differs) {
			continue
		}
		if first {
			m.tenantRefs(t, change.row, need)
			first = false
		}
		for _, i := range r.parents {
			m.parentRef(t.parents[i], change.row, need)
		}
		m.collectRefs(r.collected, change.row, change.op == cdc.Delete, need)
	}
}

// RefsOf reports the rows that a fetched row needs in turn. Fetch what Refs and RefsOf report until they report nothing new.
func (m *Mapper) RefsOf(table *cdc.Table, row cdc.Row, need func(Ref)) {
	if b := m.byCDC[table]; b != nil && row != nil {
		m.refsOf(b.table, row, need)
	}
}

func (m *Mapper) refsOf(t *table, row cdc.Row, need func(Ref)) {
	m.tenantRefs(t, row, need)
	if !t.embedded {
		return
	}
	var n neededRows
	n.addFields(t.object)
	for _, i := range n.parents {
		m.parentRef(t.parents[i], row, need)
	}
	m.collectRefs(n.collected, row, false, need)
}

// tenantRefs reports the next rows on the path to the tenant.
func (m *Mapper) tenantRefs(t *table, row cdc.Row, need func(Ref)) {
	for _, i := range t.toTenant {
		m.parentRef(t.parents[i], row, need)
	}
}

func (m *Mapper) parentRef(p parent, row cdc.Row, need func(Ref)) {
	if v := valueAt(row, p.column); v.Kind == cdc.Text && m.tables[p.table.index].relation != nil {
		need(Ref{Table: p.table.cdc, Key: cdc.Key(v.Text)})
	}
}

func (m *Mapper) collectRefs(collected []*collect, row cdc.Row, before bool, need func(Ref)) {
	for _, c := range collected {
		if v := valueAt(row, 0); v.Kind == cdc.Text && m.tables[c.table.index].relation != nil {
			need(Ref{Table: c.table.cdc, Key: cdc.Key(v.Text), By: c.by, Before: before})
		}
	}
}

// neededRows lists the parents and children of a row that a rule or an object uses.
type neededRows struct {
	parents   []int
	collected []*collect
}

func (n *neededRows) addFields(fields []field) {
	for _, f := range fields {
		switch f.kind {
		case parentColumn, spliceField, includeField:
			n.parents = append(n.parents, f.parent)
		case collectField:
			n.collected = append(n.collected, f.collect)
		}
	}
}
