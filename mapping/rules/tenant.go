package rules

import (
	"slices"
	"strings"
)

// Unreachable is the distance of a table from which no parents lead to the tenant.
const Unreachable = 1 << 20

// FindTenantPaths computes each table's path to the tenant, or to a column that names the tenant: the shortest one over its parents, or the one that the table's
// tenant key names. Parents at the same distance are ordered by column name.
func (r *Set) FindTenantPaths() {
	for _, t := range r.Mapped {
		if t == r.Tenant || t.TenantColumn >= 0 {
			t.Distance = 0
		}
	}
	for changed := true; changed; {
		changed = false
		for _, t := range r.Mapped {
			for i, p := range t.Parents {
				if t.TenantParent >= 0 && t.TenantParent != i {
					continue
				}
				if d := p.Table.Distance + 1; d < t.Distance {
					t.Distance, changed = d, true
				}
			}
		}
	}
	for _, t := range r.Mapped {
		if t.Distance == 0 {
			continue
		}
		for i, p := range t.Parents {
			if t.Distance < Unreachable && p.Table.Distance == t.Distance-1 && (t.TenantParent < 0 || t.TenantParent == i) {
				t.ToTenant = append(t.ToTenant, i)
			}
		}
		slices.SortFunc(t.ToTenant, func(a, b int) int {
			return strings.Compare(t.CDC.Columns[t.Parents[a].Column].Name, t.CDC.Columns[t.Parents[b].Column].Name)
		})
	}
}

// HasTenantColumn reports whether a column names the tenants.
func (r *Set) HasTenantColumn() bool {
	return slices.ContainsFunc(r.Mapped, func(t *Table) bool { return t.TenantColumn >= 0 })
}

// TenantNameColumn returns the names of the tenant table and of the column that tenant_name names. The table is empty if
// tenants have no table, and the column is empty if they have no names.
func (r *Set) TenantNameColumn() (table, column string) {
	switch {
	case r.Tenant == nil:
		return "", ""
	case r.TenantName < 0:
		return r.Tenant.Name(), ""
	}
	return r.Tenant.Name(), r.Tenant.CDC.Columns[r.TenantName].Name
}
