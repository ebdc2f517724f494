package engine

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// buildEvent builds the event of one row. canceled is set if a change of the same transaction cancels it.
func (t *Transaction) buildEvent(r *rules.Rule, change rowChange, tenant cdc.Key) (e Event, canceled bool, err error) {
	e = t.newEvent(r, tenant)
	e.ToRoot = e.ToRoot && change.op != cdc.Update
	if u := r.UnlessFollowed; u != nil {
		t.m.eval.Scope = t.scope(change)
		if t.m.eval.Holds(u.When) {
			match := matchKeyOf(r, change.row, u.Same)
			if _, canceled := t.follows[match]; canceled {
				return e, true, nil
			}
			e.Delay = &Delay{Match: match.String(), Within: u.Within}
		}
	}
	if r.Resource != rules.TenantResource {
		e.Resource = rules.ValueAt(change.row, r.Resource).Text
	}
	body := t.beginBody(r, e.Resource)
	render := renderer{t: t}
	body = append(render.data(body, r.Data, change.bound, change.row, change.op == cdc.Delete), '}')
	if !render.exceeds(body) {
		e.Body = t.m.takeBody(body)
	}
	return e, false, render.err
}

// newEvent sets the fields that all events have. The resource is the tenant unless the caller sets another.
func (t *Transaction) newEvent(r *rules.Rule, tenant cdc.Key) Event {
	e := Event{Name: r.Event.Name, Tenant: tenant, Resource: string(tenant), ToRoot: r.Event.ToRoot && r.Table == t.m.binding.Rules.Tenant}
	if t.m.binding.Rules.TenantName >= 0 && tenant != "" {
		e.TenantName = t.m.TenantName(t.parentRow(t.m.binding.Rules.Tenant, tenant))
	}
	return e
}

// beginBody starts a body in the mapper's buffer, up to the data.
func (t *Transaction) beginBody(r *rules.Rule, resource string) []byte {
	body := append(t.m.body[:0], r.Event.Prefix...)
	body = append(body, t.time...)
	body = append(body, `","resource_id":`...)
	if resource == "" {
		body = append(body, "null"...)
	} else {
		body = value.AppendString(body, resource)
	}
	return append(body, `,"data":`...)
}
