package integration_test

import (
	"maps"
	"slices"
	"strings"
)

// The model of a realm: plain maps, changed as the statements change the tables, and a restatement of what docs/events.md
// promises. It shares nothing with the mapping that it judges.

type modelUser struct {
	client                     string // whose account it is
	username, firstname, email string
	verified, enabled          bool
}

type modelRole struct {
	client, name, description string
	permissions               int
}

type modelClient struct {
	name                 string
	enabled, maintenance bool
}

type modelURI struct {
	client, value string
	enabled       bool
}

type modelAssignment struct{ user, role string }

type modelRealm struct {
	users    map[string]modelUser
	roles    map[string]modelRole
	clients  map[string]modelClient
	logins   map[string]modelURI
	logouts  map[string]modelURI
	assigned map[string]modelAssignment
	// origins are, by their ids now, the ids that users had when the transaction began; empty for those that were not there.
	origins map[string]string
}

func (s modelRealm) clone() modelRealm {
	return modelRealm{
		users: maps.Clone(s.users), roles: maps.Clone(s.roles), clients: maps.Clone(s.clients),
		logins: maps.Clone(s.logins), logouts: maps.Clone(s.logouts), assigned: maps.Clone(s.assigned),
		origins: maps.Clone(s.origins),
	}
}

func emptyRealm() modelRealm {
	return modelRealm{
		users: map[string]modelUser{}, roles: map[string]modelRole{}, clients: map[string]modelClient{},
		logins: map[string]modelURI{}, logouts: map[string]modelURI{}, assigned: map[string]modelAssignment{},
		origins: map[string]string{},
	}
}

// What a statement deletes takes along what depends on it.

func (s modelRealm) deleteUser(id string) {
	delete(s.users, id)
	maps.DeleteFunc(s.assigned, func(_ string, a modelAssignment) bool { return a.user == id })
}

func (s modelRealm) deleteRole(id string) {
	delete(s.roles, id)
	maps.DeleteFunc(s.assigned, func(_ string, a modelAssignment) bool { return a.role == id })
}

func (s modelRealm) deleteClient(id string) {
	delete(s.clients, id)
	for user, u := range s.users {
		if u.client == id {
			s.deleteUser(user)
		}
	}
	for role, r := range s.roles {
		if r.client == id {
			s.deleteRole(role)
		}
	}
	for _, uris := range []map[string]modelURI{s.logins, s.logouts} {
		maps.DeleteFunc(uris, func(_ string, u modelURI) bool { return u.client == id })
	}
}

// modelEvent is what must arrive. Detail distinguishes versions of a row, where the event has it.
type modelEvent struct{ name, resource, detail string }

// modelChanges are the ways in which two versions of a table differ.
type modelChanges[R comparable] struct{ before, after map[string]R }

func (c modelChanges[R]) each(created, deleted func(id string, r R), updated func(id string, old, r R)) {
	for id, r := range c.after {
		switch old, existed := c.before[id]; {
		case !existed:
			created(id, r)
		case old != r:
			updated(id, old, r)
		}
	}
	for id, r := range c.before {
		if _, exists := c.after[id]; !exists {
			deleted(id, r)
		}
	}
}

// between are the events of a transaction that led from one state to the other, sorted. It is a function of the two states, and
// of which rows have another key.
func between(realm string, before, after modelRealm) []modelEvent {
	var events []modelEvent
	add := func(name, resource, detail string) { events = append(events, modelEvent{name, resource, detail}) }
	betweenUsers(realm, before, after, add)
	betweenClients(before, after, add)
	slices.SortFunc(events, func(a, b modelEvent) int {
		return strings.Compare(a.name+" "+a.resource+" "+a.detail, b.name+" "+b.resource+" "+b.detail)
	})
	return events
}

func gone[R any](before, after map[string]R, id string) bool {
	_, existed := before[id]
	_, exists := after[id]
	return existed && !exists
}

// deleted reports whether a user is gone, and not only its id.
func (s modelRealm) deleted(before modelRealm, id string) bool {
	for now, origin := range s.origins {
		if _, exists := s.users[now]; exists && origin == id {
			return false
		}
	}
	return gone(before.users, s.users, id)
}

func betweenUsers(realm string, before, after modelRealm, add func(name, resource, detail string)) {
	var deleted []string
	modelChanges[modelUser]{before.users, after.users}.each(
		func(id string, u modelUser) {
			if u.client == "" {
				add("user.created", id, u.username+"|"+u.firstname)
			}
		},
		func(id string, u modelUser) {
			if u.client == "" {
				deleted = append(deleted, id)
			}
		},
		func(id string, old, u modelUser) {
			if u.client != "" {
				return
			}
			if old.verified != u.verified && u.verified {
				add("user.email_verified", id, u.username+"|"+u.firstname)
			}
			was, is := old, u
			was.verified, is.verified = false, false
			if was != is || !u.verified {
				add("user.updated", id, u.username+"|"+u.firstname)
			}
		},
	)
	if len(deleted) > 1 {
		slices.Sort(deleted)
		add("user.bulk_deleted", realm, strings.Join(deleted, "|"))
	} else if len(deleted) == 1 {
		u := before.users[deleted[0]]
		add("user.deleted", deleted[0], u.username+"|"+u.firstname)
	}
	modelChanges[modelAssignment]{before.assigned, after.assigned}.each(
		func(_ string, a modelAssignment) { add("user.role.assigned", a.user, after.roles[a.role].name) },
		func(_ string, a modelAssignment) {
			if !after.deleted(before, a.user) && !gone(before.roles, after.roles, a.role) {
				add("user.role.unassigned", a.user, after.roles[a.role].name)
			}
		},
		func(string, modelAssignment, modelAssignment) {},
	)
}

func betweenClients(before, after modelRealm, add func(name, resource, detail string)) {
	modelChanges[modelClient]{before.clients, after.clients}.each(
		func(id string, c modelClient) { add("client.created", id, c.name) },
		func(id string, _ modelClient) { add("client.deleted", id, "") },
		func(id string, old, c modelClient) {
			if old.name != c.name || old.enabled != c.enabled {
				add("client.updated", id, c.name)
			}
			if old.maintenance != c.maintenance {
				add(map[bool]string{true: "client.maintenance.enabled", false: "client.maintenance.disabled"}[c.maintenance], id, c.name)
			}
		},
	)
	modelChanges[modelRole]{before.roles, after.roles}.each(
		func(id string, r modelRole) {
			add(map[bool]string{true: "role.created", false: "client.role.created"}[r.client == ""], id, r.name)
		},
		func(id string, r modelRole) {
			if !gone(before.clients, after.clients, r.client) {
				add("role.deleted", id, r.name)
			}
		},
		func(id string, old, r modelRole) {
			named := old.name != r.name || old.description != r.description
			switch {
			case r.client != "":
				add("client.role.updated", id, r.name)
			case named && old.permissions != r.permissions:
				add("role.updated", id, r.name)
				add("role.permission.updated", id, r.name)
			case named:
				add("role.updated", id, r.name)
			default:
				add("role.permission.updated", id, r.name)
			}
		},
	)
	for _, uris := range []modelChanges[modelURI]{{before.logins, after.logins}, {before.logouts, after.logouts}} {
		uris.each(
			func(id string, u modelURI) { add("redirect_uri.created", id, u.value) },
			func(id string, u modelURI) {
				if !gone(before.clients, after.clients, u.client) {
					add("redirect_uri.deleted", id, "")
				}
			},
			func(id string, _, u modelURI) { add("redirect_uri.updated", id, u.value) },
		)
	}
}
