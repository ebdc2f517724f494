package mapping

import (
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

func (l *loader) loadTenant(document *tomlpos.Node) {
	w := l.decoder.word(document, "tenant")
	if !w.given() {
		l.problems.add(document.At, "tenant is required: the table whose key scopes events and webhooks, for example tenant = \"realms\"")
		return
	}
	t := l.table(w)
	if t == nil {
		return
	}
	if t.cdc.KeyColumns != 1 {
		l.problems.add(w.at, "the key of the tenant table %s must have one column; it has %d", t.name(), t.cdc.KeyColumns)
		return
	}
	l.rules.tenant = t
	l.rules.findTenantPaths()
	if name := l.decoder.word(document, "tenant_name"); name.given() {
		if i, ok := l.payloadColumn(t, name); ok {
			l.rules.tenantName = i
		}
	}
	l.rules.rootTenant = l.condition(l.decoder.word(document, "root_tenant"), t, true)
}

// unreachable is the distance of a table from which no parents lead to the tenant.
const unreachable = 1 << 20

// findTenantPaths computes each table's path to the tenant: the shortest one over its parents, or the one that the table's
// tenant key names. Parents at the same distance are ordered by column name.
func (r *Rules) findTenantPaths() {
	if r.tenant == nil {
		return
	}
	r.tenant.distance = 0
	for changed := true; changed; {
		changed = false
		for _, t := range r.tables {
			for i, p := range t.parents {
				if t.tenantParent >= 0 && t.tenantParent != i {
					continue
				}
				if d := p.table.distance + 1; d < t.distance {
					t.distance, changed = d, true
				}
			}
		}
	}
	for _, t := range r.tables {
		if t == r.tenant {
			continue
		}
		for i, p := range t.parents {
			if t.distance < unreachable && p.table.distance == t.distance-1 && (t.tenantParent < 0 || t.tenantParent == i) {
				t.toTenant = append(t.toTenant, i)
			}
		}
		slices.SortFunc(t.toTenant, func(a, b int) int {
			return strings.Compare(t.cdc.Columns[t.parents[a].column].Name, t.cdc.Columns[t.parents[b].column].Name)
		})
	}
}

// TenantNameColumn returns the tenant table and the column that tenant_name names; the column is empty if there is none.
func (r *Rules) TenantNameColumn() (table *cdc.Table, column string) {
	if r.tenantName < 0 {
		return r.tenant.cdc, ""
	}
	return r.tenant.cdc, r.tenant.cdc.Columns[r.tenantName].Name
}

// tenantOf follows the parents of a row to its tenant. It returns an empty key if a row on the path, or the row of the tenant
// itself, does not exist: a key without a row is not a tenant.
func (m *Mapper) tenantOf(look lookup, t *table, row cdc.Row) cdc.Key {
	return m.followToTenant(t, row, func(parent *table, key cdc.Key) (cdc.Row, bool) {
		found := look.parentRow(parent, key)
		return found, found != nil
	})
}

// claimedTenant returns the tenant that a row refers to, even if the row of the tenant does not exist yet.
func (m *Mapper) claimedTenant(look lookup, t *table, row cdc.Row) cdc.Key {
	return m.followToTenant(t, row, func(parent *table, key cdc.Key) (cdc.Row, bool) {
		found := look.parentRow(parent, key)
		return found, found != nil || parent == m.rules.tenant
	})
}

func (m *Mapper) followToTenant(t *table, row cdc.Row, find func(*table, cdc.Key) (cdc.Row, bool)) cdc.Key {
	if t == m.rules.tenant {
		return cdc.Key(valueAt(row, 0).Text)
	}
	for _, i := range t.toTenant {
		p := t.parents[i]
		v := valueAt(row, p.column)
		if v.Kind != cdc.Text {
			continue
		}
		parentRow, found := find(p.table, cdc.Key(v.Text))
		switch {
		case !found:
		case p.table == m.rules.tenant:
			return cdc.Key(v.Text)
		default:
			if tenant := m.followToTenant(p.table, parentRow, find); tenant != "" {
				return tenant
			}
		}
	}
	return ""
}

// Tenant returns the table whose key scopes events and webhooks.
func (m *Mapper) Tenant() *cdc.Table { return m.rules.tenant.cdc }

// TenantName returns the name of the tenant with that row. It is empty if the mapping has no tenant_name or the row is nil.
func (m *Mapper) TenantName(row cdc.Row) string {
	if m.rules.tenantName < 0 {
		return ""
	}
	return valueAt(row, m.rules.tenantName).Text
}

// IsRootTenant reports whether the webhooks of the tenant with that row also receive the [Rules.RootEvents] of other tenants.
// A nil row is not a root tenant.
func (m *Mapper) IsRootTenant(row cdc.Row) bool {
	if m.rules.rootTenant == nil || row == nil {
		return false
	}
	m.eval.scope = scope{bound: m.tables[m.rules.tenant.index], row: row}
	return m.eval.holds(m.rules.rootTenant)
}
