package keycloak

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Operation is one thing that an administrator or a user does.
type Operation struct {
	Name string
	// Events are what a subscriber wants from it, and nothing else: "user.updated alice, session.ended ×2". The word after an
	// event's name is what the story calls the event's resource; without one, any resource will do.
	Events string
	Do     func(context.Context) error
	// Realm is what the story calls the realm in which it happens; empty for the story's own.
	Realm string
}

// Event is one that is wanted. Resource is an id, or empty.
type Event struct{ Name, Resource string }

// Story is the life of a realm from its creation to its deletion, in operations that build on one another.
type Story struct {
	admin *Admin
	realm string
	ids   map[string]string // by the story's names
	users browsers
}

// NewStory returns a story that has not begun.
func NewStory(server *Server) *Story {
	s := &Story{admin: NewAdmin(server), realm: "acme", ids: map[string]string{}}
	s.users = browsers{server: server}
	return s
}

// Operations are all operations in their order. Those that take long come last, and are left out where quick is set.
func (s *Story) Operations(quick bool) []Operation {
	all := slices.Concat(s.realmBegins(), s.realmSettings(), s.roles(), s.clients(), s.clientParts(), s.userBasics(), s.userParts(), s.credentials(),
		s.groups(), s.identityProviders(), s.organizations(), s.sessions(), s.failedLogins(), s.keycloakEvents(), s.imports(), s.deletions(), s.realmEnds())
	if !quick {
		all = slices.Concat(all, s.largeRealm(), s.upgrade())
	}
	return all
}

// RealmID is the id of the realm in which an operation has happened.
func (s *Story) RealmID(o Operation) string {
	if o.Realm != "" {
		return s.ids[o.Realm]
	}
	return s.ids["acme"]
}

// wanted is an event's name, and maybe a resource and a number: "session.ended alice ×2".
var wanted = regexp.MustCompile(`^([a-z_.]+)(?: ([a-z0-9-]+))?(?: ×([0-9]+))?$`)

// Wanted lists an operation's events one by one. It is to be called after Do, when the resources have their ids, and before
// the next operation.
func (s *Story) Wanted(o Operation) (events []Event, err error) {
	if o.Events == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(o.Events, ", ") {
		match := wanted.FindStringSubmatch(part)
		if match == nil {
			return nil, fmt.Errorf("operation %q: malformed event %q", o.Name, part)
		}
		e := Event{Name: match[1]}
		if match[2] != "" {
			if e.Resource = s.ids[match[2]]; e.Resource == "" {
				return nil, fmt.Errorf("operation %q: the story has nothing called %s; it has %q", o.Name, match[2], slices.Sorted(maps.Keys(s.ids)))
			}
		}
		n := 1
		if match[3] != "" {
			if n, err = strconv.Atoi(match[3]); err != nil {
				return nil, err
			}
		}
		events = append(events, slices.Repeat([]Event{e}, n)...)
	}
	return events, nil
}

// act is what an Operation does.
type act = func(context.Context) error

var placeholder = regexp.MustCompile(`\{([a-z0-9-]+)\}`)

// path leads below the story's realm, or with a slash at its beginning below /admin/realms. {name} is the id of what the
// story calls so.
func (s *Story) path(path string) string {
	path = placeholder.ReplaceAllStringFunc(path, func(name string) string { return s.ids[strings.Trim(name, "{}")] })
	if absolute, ok := strings.CutPrefix(path, "/"); ok {
		return absolute
	}
	return s.realm + "/" + path
}

// create posts a representation and names what comes of it.
func (s *Story) create(path string, representation any, name string) act {
	return func(ctx context.Context) (err error) {
		s.ids[name], err = s.admin.Post(ctx, s.path(path), representation)
		return err
	}
}

// created does so where Keycloak does not answer with the id: it is a field of what then is at the other path.
func (s *Story) created(path string, representation any, at, field, name string) act {
	return func(ctx context.Context) error {
		if _, err := s.admin.Post(ctx, s.path(path), representation); err != nil {
			return err
		}
		return s.find(ctx, at, field, name)
	}
}

// named names what is at a path.
func (s *Story) named(path, field, name string) act {
	return func(ctx context.Context) error { return s.find(ctx, path, field, name) }
}

// find names what is at a path.
func (s *Story) find(ctx context.Context, path, field, name string) error {
	var found map[string]any
	if err := s.admin.Get(ctx, s.path(path), &found); err != nil {
		return err
	}
	id, ok := found[field].(string)
	if !ok {
		return fmt.Errorf("what is at %s has no %s", path, field)
	}
	s.ids[name] = id
	return nil
}

func (s *Story) post(path string, representation func() any) act {
	return func(ctx context.Context) error {
		_, err := s.admin.Post(ctx, s.path(path), representation())
		return err
	}
}

func (s *Story) put(path string, representation any) act {
	return func(ctx context.Context) error { return s.admin.Put(ctx, s.path(path), representation) }
}

func (s *Story) edit(path string, changes change) act {
	return func(ctx context.Context) error { return s.admin.Edit(ctx, s.path(path), changes) }
}

// save saves what is there.
func (s *Story) save(path string) act { return s.edit(path, nil) }

func (s *Story) delete(path string) act {
	return func(ctx context.Context) error { return s.admin.Delete(ctx, s.path(path), nil) }
}

func (s *Story) deleteOf(path string, representation func() any) act {
	return func(ctx context.Context) error { return s.admin.Delete(ctx, s.path(path), representation()) }
}

// roleList are roles by their names in the story, which are those in Keycloak too, when the ids are known.
func (s *Story) roleList(names ...string) func() any {
	return func() any {
		var list []role
		for _, name := range names {
			list = append(list, role{ID: s.ids[name], Name: name})
		}
		return list
	}
}

func none() any { return nil }

// all does one act after the other.
func all(acts ...act) act {
	return func(ctx context.Context) error {
		for _, act := range acts {
			if err := act(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}
