package engine

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// tenantOf follows the parents of a row to its tenant. It returns an empty key if a row on the path, or the row of the tenant
// itself, does not exist: a key without a row is not a tenant.
func (t *Transaction) tenantOf(of *rules.Table, row cdc.Row) cdc.Key {
	return t.m.followToTenant(of, row, func(parent *rules.Table, key cdc.Key) (cdc.Row, bool) {
		found := t.parentRow(parent, key)
		return found, found != nil
	})
}

// claimedTenant returns the tenant that a row refers to, even if the row of the tenant does not exist yet.
func (m *Mapper) claimedTenant(rows Rows, t *rules.Table, row cdc.Row) cdc.Key {
	return m.followToTenant(t, row, func(parent *rules.Table, key cdc.Key) (cdc.Row, bool) {
		found := rows.Row(parent.CDC, key)
		return found, found != nil || parent == m.binding.Rules.Tenant
	})
}

// followToTenant returns the tenant of a row: the row itself, the value of a column, or the tenant of a parent.
func (m *Mapper) followToTenant(t *rules.Table, row cdc.Row, find func(*rules.Table, cdc.Key) (cdc.Row, bool)) cdc.Key {
	if tenant := m.pathToTenant(t, row, find); tenant != "" {
		return tenant
	}
	return cdc.Key(m.binding.Rules.TenantConstant)
}

func (m *Mapper) pathToTenant(t *rules.Table, row cdc.Row, find func(*rules.Table, cdc.Key) (cdc.Row, bool)) cdc.Key {
	switch {
	case t == m.binding.Rules.Tenant:
		return cdc.Key(rules.ValueAt(row, 0).Text)
	case t.TenantColumn >= 0:
		return cdc.Key(rules.ValueAt(row, t.TenantColumn).Text)
	}
	for _, i := range t.ToTenant {
		p := t.Parents[i]
		v := rules.ValueAt(row, p.Column)
		if v.Kind != cdc.Text {
			continue
		}
		parentRow, found := find(p.Table, cdc.Key(v.Text))
		switch {
		case !found:
		case p.Table == m.binding.Rules.Tenant:
			return cdc.Key(v.Text)
		default:
			if tenant := m.pathToTenant(p.Table, parentRow, find); tenant != "" {
				return tenant
			}
		}
	}
	return ""
}

// Tenant returns the table whose key scopes events and webhooks, or nil if the tenants have no table.
func (m *Mapper) Tenant() *cdc.Table {
	if m.binding.Rules.Tenant == nil {
		return nil
	}
	return m.binding.Rules.Tenant.CDC
}

// TenantName returns the name of the tenant with that row. It is empty if the mapping has no tenant_name or the row is nil.
func (m *Mapper) TenantName(row cdc.Row) string {
	if m.binding.Rules.TenantName < 0 {
		return ""
	}
	return rules.ValueAt(row, m.binding.Rules.TenantName).Text
}

// IsRootTenant reports whether the webhooks of the tenant with that row also receive the [Rules.RootEvents] of other tenants.
// A nil row is not a root tenant.
func (m *Mapper) IsRootTenant(row cdc.Row) bool {
	if m.binding.Rules.RootTenant == nil || row == nil {
		return false
	}
	m.eval.Scope = rules.Scope{Bound: m.binding.Tables[m.binding.Rules.Tenant.Index], Row: row}
	return m.eval.Holds(m.binding.Rules.RootTenant)
}
