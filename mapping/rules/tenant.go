package rules

import (
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// Unreachable is the distance of a table from which no parents lead to the tenant.
const Unreachable = 1 << 20

// FindTenantPaths computes each table's path to the tenant: the shortest one over its parents, or the one that the table's
// Tenant key names. Parents at the same distance are ordered by column name.
func (r *Set) FindTenantPaths() {
	if r.Tenant == nil {
		return
	}
	r.Tenant.Distance = 0
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
		if t == r.Tenant {
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

// TenantNameColumn returns the tenant table and the column that tenant_name names; the column is empty if there is none.
func (r *Set) TenantNameColumn() (table *cdc.Table, column string) {
	if r.TenantName < 0 {
		return r.Tenant.CDC, ""
	}
	return r.Tenant.CDC, r.Tenant.CDC.Columns[r.TenantName].Name
}
