package engine

import (
	"strings"

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
	if !r.Resource.Tenant {
		e.Resource = t.resourceOf(r, change.row)
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

// resourceOf returns the resource_id of a row. It is empty if none of its columns has a value.
func (t *Transaction) resourceOf(r *rules.Rule, row cdc.Row) string {
	parts := r.Resource.Parts
	if len(parts) == 1 && parts[0].Parent < 0 {
		return rules.ValueAt(row, parts[0].Column).Text
	}
	var id strings.Builder
	known := false
	for _, part := range parts {
		text := part.Text
		if part.IsColumn {
			from := row
			if part.Parent >= 0 {
				p := r.Table.Parents[part.Parent]
				from = t.parentRow(p.Table, cdc.Key(rules.ValueAt(row, p.Column).Text))
			}
			text = rules.ValueAt(from, part.Column).Text
			known = known || text != ""
		}
		id.WriteString(text)
	}
	if !known {
		return ""
	}
	return id.String()
}
