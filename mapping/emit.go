package mapping

import "github.com/iam-relay/iam-relay/cdc"

// single builds the event of one row. followed says that a change in the same transaction cancels it.
func (t *Transaction) single(r *rule, seen rowChange, tenant cdc.Key) (e Event, followed bool, err error) {
	e = t.event(r, tenant)
	e.ToRoot = e.ToRoot && seen.op != cdc.Update
	if r.hold != nil {
		t.m.eval.scope = t.scope(seen)
		if t.m.eval.holds(r.hold.when) {
			match := r.match(seen.row, r.hold.same)
			if _, followed := t.follows[match]; followed {
				return e, true, nil
			}
			e.Hold = &Hold{Match: match.String(), Within: r.hold.within}
		}
	}
	if r.resource != tenantResource {
		e.Resource = at(seen.row, r.resource).Text
	}
	body := t.head(r, e.Resource)
	render := renderer{t: t}
	body = append(render.data(body, r.data, seen.bound, seen.row, seen.op == cdc.Delete), '}')
	if !render.over(body) {
		e.Body = t.m.finished(body)
	}
	return e, false, render.err
}

// event fills what all events have; the resource is the tenant until told otherwise.
func (t *Transaction) event(r *rule, tenant cdc.Key) Event {
	e := Event{Name: r.event.name, Tenant: tenant, Resource: string(tenant), ToRoot: r.event.toRoot && r.table == t.m.rules.tenant}
	if t.m.rules.tenantName >= 0 && tenant != "" {
		e.TenantName = t.m.TenantName(t.parentRow(t.m.rules.tenant, tenant))
	}
	return e
}

// head begins a body in the mapper's buffer, up to the data.
func (t *Transaction) head(r *rule, resource string) []byte {
	body := append(t.m.body[:0], r.event.prefix...)
	body = append(body, t.time...)
	body = append(body, `","resource_id":`...)
	if resource == "" {
		body = append(body, "null"...)
	} else {
		body = appendString(body, resource)
	}
	return append(body, `,"data":`...)
}
