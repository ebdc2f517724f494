package engine

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// modelRow is a row by column name, without nulls.
type modelRow map[string]string

// modelState is the content of a database by table and id.
type modelState map[string]map[string]modelRow

func (s modelState) clone() modelState {
	out := modelState{}
	for table, rows := range s {
		out[table] = maps.Clone(rows) // Rows are never modified.
	}
	return out
}

// modelOrigins holds, by table and id, the id that a row had before the transaction, if it was another or none ("").
type modelOrigins map[string]map[string]string

func (o modelOrigins) of(table, id string) string {
	if origin, ok := o[table][id]; ok {
		return origin
	}
	return id
}

func (o modelOrigins) put(table, id, origin string) {
	if o[table] == nil {
		o[table] = map[string]string{}
	}
	o[table][id] = origin
}

// moved reports whether the row that had the id exists under another id.
func (o modelOrigins) moved(table, id string, after modelState) bool {
	for now, origin := range o[table] {
		if _, exists := after[table][now]; exists && origin == id {
			return true
		}
	}
	return false
}

// modelled is an event in the model. Detail is the name in its data, if there is one.
type modelled struct {
	Name     string
	Tenant   cdc.Key
	Resource string
	Detail   string
	Delayed  bool
}

// modelParents holds the foreign keys by table and column. All of them are ON DELETE CASCADE.
var modelParents = map[string]map[string]string{
	"realms": {}, "clients": {"realm_id": "realms"}, "users": {"realm_id": "realms", "client_id": "clients"},
	"roles": {"realm_id": "realms", "client_id": "clients"}, "user_role": {"user_id": "users", "role_id": "roles"},
	"redirect_uris": {"client_id": "clients"}, "credentials": {"user_id": "users"},
}

// expectation computes the events of docs/events.md from the differences between two states.
type expectation struct {
	before, after modelState
	origins       modelOrigins
	events        []modelled
	deletedUsers  map[string][]string // by realm
}

func expected(before, after modelState, origins modelOrigins) []modelled {
	e := &expectation{before: before, after: after, origins: origins, deletedUsers: map[string][]string{}}
	for table := range modelParents {
		for id, row := range after[table] {
			if old, existed := before[table][id]; !existed {
				e.inserted(table, id, row)
			} else {
				e.updated(table, id, old, row)
			}
		}
		for id, row := range before[table] {
			if _, exists := after[table][id]; !exists && !e.deletedWithParent(table, row) {
				e.deleted(table, id, row)
			}
		}
	}
	for realm, ids := range e.deletedUsers {
		if len(ids) == 1 {
			e.add("user.deleted", realm, ids[0], before["users"][ids[0]]["username"])
		} else {
			e.add("user.bulk_deleted", realm, realm, "")
		}
	}
	return e.events
}

func (e *expectation) add(name, tenant, resource, detail string) {
	e.events = append(e.events, modelled{Name: name, Tenant: cdc.Key(tenant), Resource: resource, Detail: detail})
}

func (e *expectation) wasDeleted(table, id string) bool {
	_, existed := e.before[table][id]
	_, exists := e.after[table][id]
	return existed && !exists
}

func (e *expectation) deletedWithParent(table string, row modelRow) bool {
	for column, parent := range modelParents[table] {
		if id, ok := row[column]; ok && e.wasDeleted(parent, id) && !e.origins.moved(parent, id, e.after) {
			return true
		}
	}
	return false
}

// latest returns a row as it is now, or was before it was deleted.
func (e *expectation) latest(table, id string) modelRow {
	if row, ok := e.after[table][id]; ok {
		return row
	}
	return e.before[table][id]
}

func (e *expectation) inserted(table, id string, row modelRow) {
	_, ofClient := row["client_id"]
	switch table {
	case "realms":
		e.add("realm.created", id, id, row["name"])
	case "clients":
		e.add("client.created", row["realm_id"], id, row["name"])
	case "users":
		if !ofClient {
			e.add("user.created", row["realm_id"], id, row["username"])
		}
	case "roles":
		name := "role.created"
		if ofClient {
			name = "client.role.created"
		}
		e.add(name, row["realm_id"], id, row["name"])
	case "user_role":
		e.add("user.role.assigned", e.latest("users", row["user_id"])["realm_id"], row["user_id"], e.latest("roles", row["role_id"])["name"])
	case "redirect_uris":
		e.add("redirect_uri.created", e.latest("clients", row["client_id"])["realm_id"], id, row["value"])
	}
}

// differs reports whether one of the columns has another value.
func differs(old, row modelRow, columns ...string) bool {
	return slices.ContainsFunc(columns, func(c string) bool {
		before, had := old[c]
		now, has := row[c]
		return had != has || before != now
	})
}

func (e *expectation) updated(table, id string, old, row modelRow) {
	switch table {
	case "realms":
		if differs(old, row, "name", "display_name") {
			e.add("realm.updated", id, id, row["name"])
		}
	case "clients":
		e.clientUpdated(id, old, row)
	case "users":
		e.userUpdated(id, old, row)
	case "roles":
		e.roleUpdated(id, old, row)
	case "redirect_uris":
		if differs(old, row, "value", "enabled") {
			e.add("redirect_uri.updated", e.latest("clients", row["client_id"])["realm_id"], id, row["value"])
		}
	}
}

func (e *expectation) clientUpdated(id string, old, row modelRow) {
	if differs(old, row, "enabled", "client_id", "realm_id", "name") {
		e.add("client.updated", row["realm_id"], id, row["name"])
	}
	if differs(old, row, "maintenance_enabled") {
		switch row["maintenance_enabled"] {
		case "t":
			e.add("client.maintenance.enabled", row["realm_id"], id, row["name"])
		case "f":
			e.add("client.maintenance.disabled", row["realm_id"], id, row["name"])
		}
	}
}

func (e *expectation) userUpdated(id string, old, row modelRow) {
	if _, ofClient := row["client_id"]; ofClient {
		return
	}
	verification := differs(old, row, "email_verified")
	other := differs(old, row, "username", "firstname", "lastname", "email", "enabled", "realm_id")
	// ON DELETE SET NULL is not an update.
	client := old["client_id"]
	if lost := e.wasDeleted("clients", client) && !e.origins.moved("clients", client, e.after); !lost || other || verification {
		other = other || differs(old, row, "client_id")
	}
	if other || (verification && row["email_verified"] == "f") {
		e.add("user.updated", row["realm_id"], id, row["username"])
	}
	if verification && row["email_verified"] == "t" {
		e.add("user.email_verified", row["realm_id"], id, row["username"])
	}
}

func (e *expectation) roleUpdated(id string, old, row modelRow) {
	if _, ofClient := row["client_id"]; ofClient {
		if differs(old, row, "name", "description", "permissions", "require_mfa") {
			e.add("client.role.updated", row["realm_id"], id, row["name"])
		}
		return
	}
	if differs(old, row, "name", "description", "require_mfa") {
		e.add("role.updated", row["realm_id"], id, row["name"])
	}
	if differs(old, row, "permissions") {
		e.add("role.permission.updated", row["realm_id"], id, row["name"])
	}
}

func (e *expectation) deleted(table, id string, row modelRow) {
	switch table {
	case "realms":
		e.add("realm.deleted", id, id, row["name"])
	case "clients":
		e.add("client.deleted", row["realm_id"], id, "")
	case "users":
		if _, ofClient := row["client_id"]; !ofClient {
			e.deletedUsers[row["realm_id"]] = append(e.deletedUsers[row["realm_id"]], id)
		}
	case "roles":
		e.add("role.deleted", row["realm_id"], id, row["name"])
	case "user_role":
		e.add("user.role.unassigned", e.latest("users", row["user_id"])["realm_id"], row["user_id"], e.latest("roles", row["role_id"])["name"])
	case "redirect_uris":
		e.add("redirect_uri.deleted", e.latest("clients", row["client_id"])["realm_id"], id, "")
	case "credentials":
		kind := row["credential_type"]
		replaceable := kind == "password" || kind == "otp"
		if kind == "recovery-code" || (replaceable && e.replaced(row)) {
			return
		}
		e.add("user.credentials.deleted", e.latest("users", row["user_id"])["realm_id"], row["user_id"], "")
		e.events[len(e.events)-1].Delayed = replaceable
	}
}

// replaced reports whether a credential of the same user and kind was inserted.
func (e *expectation) replaced(row modelRow) bool {
	for id, other := range e.after["credentials"] {
		if _, existed := e.before["credentials"][id]; !existed && maps.Equal(row, other) {
			return true
		}
	}
	return false
}
