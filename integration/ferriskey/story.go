package ferriskey

import (
	"context"
	"slices"
	"time"
)

// Documented are the event names that FerrisKey documents.
var Documented = []string{
	"user.created", "user.updated", "user.deleted", "user.role.assigned", "user.role.unassigned", "user.bulk_deleted",
	"user.credentials.deleted", "auth.reset_password",
	"client.created", "client.updated", "client.deleted", "client.role.created", "client.role.updated",
	"redirect_uri.created", "redirect_uri.updated", "redirect_uri.deleted",
	"role.created", "role.updated", "role.deleted", "role.permission.updated",
	"realm.created", "realm.updated", "realm.deleted", "realm.settings.updated",
	"webhook.created", "webhook.updated", "webhook.deleted",
}

// Newer are the names that later versions of FerrisKey have added.
var Newer = []string{
	"user.email_verified", "web_origin.created", "web_origin.deleted", "client.maintenance.enabled", "client.maintenance.disabled",
	"auth.device_flow.initiated", "auth.device_flow.denied", "auth.device_flow.expired",
}

// Expected is an event that an act must cause, once.
type Expected struct {
	Event string
	// Resource is the event's resource_id: the id of the row; of the user for user.role.*, user.credentials.deleted and
	// auth.reset_password; of the realm for user.bulk_deleted; of the client for auth.device_flow.*, whose own key is a secret.
	Resource string
	// Realm is the id of the realm that the event belongs to.
	Realm string
	// Held is for how long after the commit the event cannot be known to be one.
	Held time.Duration
}

// Step is one act, and what must come of it: the events, in order, and no others.
type Step struct {
	Name string
	Do   func(context.Context) ([]Expected, error)
}

// Story is the life of a realm from its creation to its deletion. Its steps, done one after the other, cause each of the
// Documented and of the Newer events at least once, and between them do what must cause none. Bootstrap comes before it.
//
// hook is a webhook that the realm gets at once and keeps until its end; where its endpoint is empty, the realm gets none.
// What the steps expect happens whether or not anyone subscribes to it.
func Story(iam *IAM, hook Webhook) []Step {
	s := &story{iam: iam, hook: hook}
	return slices.Concat(s.beginning(), s.users(), s.roles(), s.clients(), s.logins(), s.webhooks(), s.ending())
}

// story holds what earlier steps have made for the later ones.
type story struct {
	iam   *IAM
	hook  Webhook
	realm Realm

	alice, bob, carol, dave string
	otp                     string
	operator                string
	app, appAdmin           string
}

// here expects an event of the story's realm.
func (s *story) here(event, resource string) Expected {
	return Expected{Event: event, Resource: resource, Realm: s.realm.ID}
}

// one is a step that causes one event in the story's realm: do returns its resource.
func (s *story) one(name, event string, do func(context.Context) (string, error)) Step {
	return Step{Name: name, Do: func(ctx context.Context) ([]Expected, error) {
		resource, err := do(ctx)
		if err != nil {
			return nil, err
		}
		return []Expected{s.here(event, resource)}, nil
	}}
}

// none is a step that causes nothing.
func (s *story) none(name string, do func(context.Context) error) Step {
	return Step{Name: name, Do: func(ctx context.Context) ([]Expected, error) { return nil, do(ctx) }}
}
