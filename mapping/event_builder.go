package mapping

import "github.com/iam-relay/iam-relay/cdc"

// buildEvent builds the event of one row. canceled is set if a change of the same transaction cancels it.
func (t *Transaction) buildEvent(r *rule, change rowChange, tenant cdc.Key) (e Event, canceled bool, err error) {
	e = t.newEvent(r, tenant)
	e.ToRoot = e.ToRoot && change.op != cdc.Update
	if u := r.unlessFollowed; u != nil {
		t.m.eval.scope = t.scope(change)
		if t.m.eval.holds(u.when) {
			match := r.matchKeyOf(change.row, u.same)
			if _, canceled := t.follows[match]; canceled {
				return e, true, nil
			}
			e.Delay = &Delay{Match: match.String(), Within: u.within}
		}
	}
	if r.resource != tenantResource {
		e.Resource = valueAt(change.row, r.resource).Text
	}
	body := t.beginBody(r, e.Resource)
	render := renderer{t: t}
	body = append(render.data(body, r.data, change.bound, change.row, change.op == cdc.Delete), '}')
	if !render.exceeds(body) {
		e.Body = t.m.takeBody(body)
	}
	return e, false, render.err
}

// newEvent sets the fields that all events have. The resource is the tenant unless the caller sets another.
func (t *Transaction) newEvent(r *rule, tenant cdc.Key) Event {
	e := Event{Name: r.event.name, Tenant: tenant, Resource: string(tenant), ToRoot: r.event.toRoot && r.table == t.m.rules.tenant}
	if t.m.rules.tenantName >= 0 && tenant != "" {
		e.TenantName = t.m.TenantName(t.parentRow(t.m.rules.tenant, tenant))
	}
	return e
}

// beginBody starts a body in the mapper's buffer, up to the data.
func (t *Transaction) beginBody(r *rule, resource string) []byte {
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
