package language

import "github.com/iam-relay/iam-relay/mapping/tomlpos"

func (l *loader) loadTenant(document *tomlpos.Node) {
	w := l.decoder.word(document, "tenant")
	if !w.given() {
		l.problems.Add(document.At, "tenant is required: the table whose key scopes events and webhooks, for example tenant = \"realms\"")
		return
	}
	t := l.table(w)
	if t == nil {
		return
	}
	if t.CDC.KeyColumns != 1 {
		l.problems.Add(w.at, "the key of the tenant table %s must have one column; it has %d", t.Name(), t.CDC.KeyColumns)
		return
	}
	l.rules.Tenant = t
	l.rules.FindTenantPaths()
	if name := l.decoder.word(document, "tenant_name"); name.given() {
		if i, ok := l.payloadColumn(t, name); ok {
			l.rules.TenantName = i
		}
	}
	l.rules.RootTenant = l.condition(l.decoder.word(document, "root_tenant"), t, true)
}
