package language

import (
	"fmt"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// onlyTenant is the tenant of all events of a product without tenants.
const onlyTenant = "default"

const tenantForms = `a table whose key scopes events and webhooks, such as "realms", or { column = "owner" }, or { constant = "acme" }, or false for a product without tenants`

// loadTenant reads tenant, in one of its forms, and what belongs to it.
func (l *loader) loadTenant(document *tomlpos.Node) {
	n := document.Get("tenant")
	switch {
	case n == nil:
		l.problems.Add(document.At, "tenant is required: %s", tenantForms)
		return
	case n.Scalar == false:
		l.rules.TenantConstant = onlyTenant
	case n.Kind == tomlpos.Table:
		l.loadTenantValues(n)
	default:
		if !l.loadTenantTable(document) {
			return
		}
	}
	if l.rules.Tenant == nil {
		for _, key := range []string{"tenant_name", "root_tenant"} {
			if v := document.Get(key); v != nil {
				l.problems.Add(v.At, "%s needs a table of tenants, and tenant is not a table; remove it", key)
			}
		}
	}
	l.rules.FindTenantPaths()
}

// loadTenantValues reads { column = "…", constant = "…" }: a row's own column or that of a parent, else the constant.
func (l *loader) loadTenantValues(n *tomlpos.Node) {
	l.decoder.checkKeys(n, "tenant", "column", "constant")
	column, constant := l.decoder.word(n, "column"), l.decoder.word(n, "constant")
	l.rules.TenantConstant = constant.text
	if len(n.Entries) == 0 {
		l.problems.Add(n.At, "tenant must be %s", tenantForms)
	}
	if !column.given() {
		return
	}
	found := false
	for _, t := range l.rules.Mapped {
		i, ok := t.Columns[column.text]
		if ok && !t.Secret[i] && !t.CDC.Columns[i].Hash {
			t.TenantColumn, found = i, true
		}
	}
	if !found {
		l.problems.Add(column.at, "no table lists the column %q, which names the tenant; add it to columns", column.text)
	}
}

func (l *loader) loadTenantTable(document *tomlpos.Node) bool {
	w := l.decoder.word(document, "tenant")
	if !w.given() {
		return false
	}
	t := l.table(w)
	if t == nil {
		return false
	}
	if t.CDC.KeyColumns != 1 {
		l.problems.Add(w.at, "the key of the tenant table %s must have one column; it has %d", t.Name(), t.CDC.KeyColumns)
		return false
	}
	l.rules.Tenant = t
	if name := l.decoder.word(document, "tenant_name"); name.given() {
		if i, ok := l.payloadColumn(t, name); ok {
			l.rules.TenantName = i
		}
	}
	l.rules.RootTenant = l.condition(l.decoder.word(document, "root_tenant"), t, true)
	return true
}

// noTenant reports why the rows of a table have no tenant, or "".
func (l *loader) noTenant(t *rules.Table) string {
	switch {
	case t.Distance < rules.Unreachable || l.rules.TenantConstant != "":
		return ""
	case l.rules.Tenant != nil:
		return fmt.Sprintf("no parents lead from %s to the tenant table %s; add the foreign keys to parents", t.Name(), l.rules.Tenant.Name())
	case l.rules.HasTenantColumn():
		return fmt.Sprintf("neither %s nor a parent of it has the column that names the tenant; add it to columns, or the foreign keys to parents", t.Name())
	}
	return "" // The tenant itself is wrong, which is reported.
}
