// Package rules holds checked mapping rules: tables, events, conditions and payloads, with all names resolved to indexes, and
// their binding to the column types of a database. Package language makes them, package engine applies them.
package rules

import "github.com/iam-relay/iam-relay/cdc"

// Set are a loaded mapping. They are checked in themselves but not yet against a database. Rules are immutable.
type Set struct {
	Schema     string
	Mapped     []*Table
	ByName     map[string]*Table
	Events     []*Event
	Tenant     *Table // nil if tenants have no table
	TenantName int    // a column of tenant, or -1
	RootTenant *Condition
	// TenantConstant is the tenant of rows that have no other; empty if there is none.
	TenantConstant string
	Webhooks       *WebhookSource
	// ResourceTenant is set if the resource_id of every event is the tenant's key.
	ResourceTenant bool
}

// Tables returns the tables and columns to read from the database, in the order of the mapping. The key columns come first.
func (r *Set) Tables() []*cdc.Table {
	out := make([]*cdc.Table, len(r.Mapped))
	for i, t := range r.Mapped {
		out[i] = t.CDC
	}
	return out
}

// RootEvents returns the names of the events of other tenants that go to root tenants too.
func (r *Set) RootEvents() []string {
	var out []string
	for _, e := range r.Events {
		if e.ToRoot {
			out = append(out, e.Name)
		}
	}
	return out
}

// EventNames returns the names of all events, in the order of the mapping, without dropped ones.
func (r *Set) EventNames() []string {
	out := make([]string, len(r.Events))
	for i, e := range r.Events {
		out[i] = e.Name
	}
	return out
}
