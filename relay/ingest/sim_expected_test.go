package ingest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simEvent is an event as it is expected: Detail is the name and the tags of a user. A delayed one has a cancelKey.
type simEvent struct {
	name, tenant, resource, detail string
	cancelKey                      string
}

// simDifference is what has changed between two states of the IAM.
type simDifference struct {
	before, after simRows
	grouped       bool // users that are deleted together are one event
}

func (d *simDifference) deleted(table, id string) bool {
	_, existed := d.before[table][id]
	_, exists := d.after[table][id]
	return existed && !exists
}

// deletedAlone reports whether a row was deleted, and not together with its parent.
func (d *simDifference) deletedAlone(table, id string) bool {
	for column, parent := range simParents[table] {
		if d.deleted(parent, d.before[table][id][column]) {
			return false
		}
	}
	return d.deleted(table, id)
}

// events returns what the mapping makes of the difference, in any order.
func (d *simDifference) events() []simEvent {
	var events []simEvent
	for id := range d.after["realms"] {
		if d.before["realms"][id] == nil {
			events = append(events, simEvent{name: "realm.created", tenant: id, resource: id})
		}
	}
	for id := range d.before["realms"] {
		if d.deleted("realms", id) {
			events = append(events, simEvent{name: "realm.deleted", tenant: id, resource: id})
		}
	}
	events = append(events, d.users()...)
	for id, row := range d.before["credentials"] {
		if !d.deletedAlone("credentials", id) {
			continue
		}
		e := simEvent{name: "credential.deleted", tenant: d.userOf(row)["realm_id"], resource: row["user_id"], cancelKey: credentialKey(row)}
		if !slices.Contains(d.cancelKeys(), e.cancelKey) {
			events = append(events, e)
		}
	}
	return events
}

func (d *simDifference) users() []simEvent {
	var events []simEvent
	for id, row := range d.after["users"] {
		e := simEvent{tenant: row["realm_id"], resource: id, detail: row["name"] + d.after.tags(id)}
		switch old := d.before["users"][id]; {
		case old == nil:
			e.name = "user.created"
		case !maps.Equal(old, row):
			e.name = "user.updated"
		default:
			continue
		}
		events = append(events, e)
	}
	gone := map[string][]simEvent{} // by realm
	for id, row := range d.before["users"] {
		if d.deletedAlone("users", id) {
			gone[row["realm_id"]] = append(gone[row["realm_id"]], simEvent{name: "user.deleted", tenant: row["realm_id"], resource: id})
		}
	}
	for realm, deleted := range gone {
		if d.grouped && len(deleted) >= 3 {
			deleted = []simEvent{{name: "user.bulk_deleted", tenant: realm, resource: realm}}
		}
		events = append(events, deleted...)
	}
	return events
}

func (d *simDifference) userOf(row simRow) simRow {
	if user := d.after["users"][row["user_id"]]; user != nil {
		return user
	}
	return d.before["users"][row["user_id"]]
}

// tags returns the labels of a user, in the order of their keys.
func (s simRows) tags(user string) string {
	var labels []string
	for _, id := range slices.Sorted(maps.Keys(s["tags"])) {
		if row := s["tags"][id]; row["user_id"] == user {
			labels = append(labels, row["label"])
		}
	}
	return fmt.Sprint(labels)
}

func credentialKey(row simRow) string { return row["user_id"] + "/" + row["kind"] }

// cancelKeys returns which earlier deletions of credentials the difference cancels.
func (d *simDifference) cancelKeys() []string {
	var keys []string
	for id, row := range d.after["credentials"] {
		if d.before["credentials"][id] == nil {
			keys = append(keys, credentialKey(row))
		}
	}
	return keys
}

// simulated returns a committed event in the same form.
func simulated(e *outbox.Event) (simEvent, error) {
	var body struct {
		Event string
		Data  json.RawMessage
	}
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return simEvent{}, fmt.Errorf("body of event %d: %w", e.ID, err)
	}
	if body.Event != e.Name {
		return simEvent{}, fmt.Errorf("event %d is %s, and its body says %s", e.ID, e.Name, body.Event)
	}
	s := simEvent{name: e.Name, tenant: e.Tenant, resource: e.Resource}
	if e.Name == "user.created" || e.Name == "user.updated" {
		var user struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(body.Data, &user); err != nil {
			return simEvent{}, fmt.Errorf("body of event %d: %w", e.ID, err)
		}
		s.detail = user.Name + fmt.Sprint(user.Tags)
	}
	return s, nil
}

// simHook is a subscription as the IAM's tables define it.
type simHook struct{ tenant, url, events string }

// hooks returns the subscriptions by key.
func (s simRows) hooks() map[string]simHook {
	hooks := map[string]simHook{}
	for id, row := range s["webhooks"] {
		names := map[string]bool{}
		for _, event := range s["webhook_events"] {
			if event["webhook_id"] == id {
				names[event["name"]] = true
			}
		}
		hooks[id] = simHook{row["realm_id"], row["url"], strings.Join(slices.Sorted(maps.Keys(names)), " ")}
	}
	return hooks
}

// gets reports whether a webhook of the IAM gets an event.
func (s simRows) gets(hook simHook, e *simEvent) bool {
	ofRoot := s["realms"][hook.tenant]["name"] == "master" && (e.name == "realm.created" || e.name == "realm.deleted")
	names := strings.Fields(hook.events)
	return (hook.tenant == e.tenant || ofRoot) && (slices.Contains(names, "*") || slices.Contains(names, e.name))
}

// receivers returns which of the IAM's webhooks must, and which may, get an event of the transaction: those before it. After a gap, nobody
// knows when a subscription has changed: what is the same before and after must get the event.
func (tx *simTransaction) receivers(e *simEvent) (must, may []string) {
	before, after := tx.before.hooks(), tx.after.hooks()
	if !tx.reconciled {
		after = before
	}
	for key := range simKeys(before, after) {
		old, now := before[key], after[key]
		gets := tx.before.gets(old, e)
		switch {
		case !tx.reconciled && gets, gets && tx.after.gets(now, e):
			must = append(must, key)
			may = append(may, key)
		case tx.reconciled:
			names := old.events + " " + now.events
			for _, rows := range []simRows{tx.before, tx.after} {
				for _, tenant := range []string{old.tenant, now.tenant} {
					if rows.gets(simHook{tenant: tenant, events: names}, e) {
						may = append(may, key)
					}
				}
			}
		}
	}
	return must, may
}

// simKeys returns the keys of both maps.
func simKeys(a, b map[string]simHook) map[string]bool {
	keys := map[string]bool{}
	for key := range a {
		keys[key] = true
	}
	for key := range b {
		keys[key] = true
	}
	return keys
}

// simDelayed is an event that is expected unless a change cancels it.
type simDelayed struct {
	simEvent
	commit    cdc.LSN
	due       time.Time
	must, may []string // the keys of the IAM's webhooks that must and may get it
}
