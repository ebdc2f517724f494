package mapping

import "github.com/iam-relay/iam-relay/cdc"

// Owners gives, for each table whose rows are looked up from their parent, the column that holds the parent's key, as an
// index into its Columns: the By of every Ref to it.
func (m *Mapper) Owners() map[*cdc.Table]int {
	owners := map[*cdc.Table]int{}
	for _, b := range m.tables {
		if b.table.collected {
			owners[b.table.cdc] = b.table.collectedBy
		}
	}
	return owners
}

// Refs names the mirrored rows that mapping a resolved change needs: parents on the way to the tenant, parents that data
// or conditions look at, children that data collects. The mirrored row of c itself is the caller's to fetch, before
// Resolve. A row may be named more than once.
func (m *Mapper) Refs(c *cdc.Change, need func(Ref)) {
	seen, ok, err := m.see(c)
	if err != nil || !ok {
		return // Map returns the error.
	}
	t := seen.bound.table
	if (t.isParent || t.embedded) && c.New != nil {
		m.refsOf(t, c.New, need) // Other rows of this transaction may look at it, or collect it.
	}
	if seen.op == cdc.Update {
		m.compare(seen)
	}
	first := true
	for _, r := range t.rules[seen.op] {
		if seen.op == cdc.Update && !r.touches(m.differs) {
			continue
		}
		if first {
			m.tenantRefs(t, seen.row, need)
			first = false
		}
		for _, i := range r.parents {
			m.parentRef(t.parents[i], seen.row, need)
		}
		m.collectRefs(r.collected, seen.row, seen.op == cdc.Delete, need)
	}
}

// RefsOf names what a fetched row needs in turn. Ask for the rows that Refs and RefsOf named until nothing new comes.
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
	var n needed
	n.fields(t.object)
	for _, i := range n.parents {
		m.parentRef(t.parents[i], row, need)
	}
	m.collectRefs(n.collected, row, false, need)
}

// tenantRefs names the parents on the way to the tenant, and the tenant's row.
func (m *Mapper) tenantRefs(t *table, row cdc.Row, need func(Ref)) {
	for _, i := range t.toTenant {
		m.parentRef(t.parents[i], row, need)
	}
}

func (m *Mapper) parentRef(p parent, row cdc.Row, need func(Ref)) {
	if v := at(row, p.column); v.Kind == cdc.Text && m.tables[p.table.index].relation != nil {
		need(Ref{Table: p.table.cdc, Key: cdc.Key(v.Text)})
	}
}

func (m *Mapper) collectRefs(collected []*collect, row cdc.Row, before bool, need func(Ref)) {
	for _, c := range collected {
		if v := at(row, 0); v.Kind == cdc.Text && m.tables[c.table.index].relation != nil {
			need(Ref{Table: c.table.cdc, Key: cdc.Key(v.Text), By: c.by, Before: before})
		}
	}
}

// tenantOf follows the parents to the tenant. It is empty where a row on the way is unknown, or the tenant's own: a text that may
// name a tenant is none.
func (m *Mapper) tenantOf(look lookup, t *table, row cdc.Row) cdc.Key {
	return m.tenantBy(t, row, func(parent *table, key cdc.Key) (cdc.Row, bool) {
		up := look.parentRow(parent, key)
		return up, up != nil
	})
}

// claimedTenant is the tenant that a row names, whether or not its row is there: it may come later.
func (m *Mapper) claimedTenant(look lookup, t *table, row cdc.Row) cdc.Key {
	return m.tenantBy(t, row, func(parent *table, key cdc.Key) (cdc.Row, bool) {
		up := look.parentRow(parent, key)
		return up, up != nil || parent == m.rules.tenant
	})
}

func (m *Mapper) tenantBy(t *table, row cdc.Row, find func(*table, cdc.Key) (cdc.Row, bool)) cdc.Key {
	if t == m.rules.tenant {
		return cdc.Key(at(row, 0).Text)
	}
	for _, i := range t.toTenant {
		p := t.parents[i]
		v := at(row, p.column)
		if v.Kind != cdc.Text {
			continue
		}
		up, found := find(p.table, cdc.Key(v.Text))
		switch {
		case !found:
		case p.table == m.rules.tenant:
			return cdc.Key(v.Text)
		default:
			if tenant := m.tenantBy(p.table, up, find); tenant != "" {
				return tenant
			}
		}
	}
	return ""
}

// Tenant is the table whose key scopes events and webhooks.
func (m *Mapper) Tenant() *cdc.Table { return m.rules.tenant.cdc }

// TenantName is what people call the tenant; empty if the mapping does not say, or the row is nil.
func (m *Mapper) TenantName(row cdc.Row) string {
	if m.rules.tenantName < 0 {
		return ""
	}
	return at(row, m.rules.tenantName).Text
}

// IsRootTenant reports whether the tenant's webhooks also hear of tenants that come and go. A nil row is no root tenant.
func (m *Mapper) IsRootTenant(row cdc.Row) bool {
	if m.rules.rootTenant == nil || row == nil {
		return false
	}
	m.eval.scope = scope{bound: m.tables[m.rules.tenant.index], row: row}
	return m.eval.holds(m.rules.rootTenant)
}
