package ferriskey

import "context"

func (s *story) roles() []Step {
	return []Step{
		s.one("a role of the realm is created", "role.created", func(ctx context.Context) (_ string, err error) {
			s.operator, err = s.iam.CreateRole(ctx, s.realm.ID, "operator", ManageUsers|ViewUsers)
			return s.operator, err
		}),
		s.one("the role gets a description", "role.updated", func(ctx context.Context) (string, error) {
			return s.operator, s.iam.UpdateRole(ctx, s.operator, "operator", "Looks after users")
		}),
		s.one("the role gets another permission", "role.permission.updated", func(ctx context.Context) (string, error) {
			return s.operator, s.iam.SetRolePermissions(ctx, s.operator, ManageUsers|ViewUsers|ViewRoles)
		}),
		s.none("the role is saved unchanged", func(ctx context.Context) error {
			if err := s.iam.UpdateRole(ctx, s.operator, "operator", "Looks after users"); err != nil {
				return err
			}
			return s.iam.SetRolePermissions(ctx, s.operator, ManageUsers|ViewUsers|ViewRoles)
		}),
		s.one("a user gets the role", "user.role.assigned", func(ctx context.Context) (string, error) {
			return s.alice, s.iam.AssignRole(ctx, s.realm.ID, s.alice, s.operator)
		}),
		s.one("a user loses the role", "user.role.unassigned", func(ctx context.Context) (string, error) {
			return s.alice, s.iam.UnassignRole(ctx, s.realm.ID, s.alice, s.operator)
		}),
		{"a role that a user has is deleted", func(ctx context.Context) ([]Expected, error) {
			role, err := s.iam.CreateRole(ctx, s.realm.ID, "temporary", ViewUsers)
			if err != nil {
				return nil, err
			}
			if err := s.iam.AssignRole(ctx, s.realm.ID, s.bob, role); err != nil {
				return nil, err
			}
			return []Expected{s.here("role.created", role), s.here("user.role.assigned", s.bob), s.here("role.deleted", role)}, s.iam.DeleteRole(ctx, s.realm.ID, role)
		}},
	}
}

func (s *story) clients() []Step {
	return []Step{
		s.one("a client with a service account is created", "client.created", func(ctx context.Context) (_ string, err error) {
			s.app, _, err = s.iam.CreateClient(ctx, s.realm.ID, Client{ClientID: "app", Secret: newSecret(), ServiceAccount: true})
			return s.app, err
		}),
		s.one("the client gets another name", "client.updated", func(ctx context.Context) (string, error) {
			return s.app, s.iam.UpdateClient(ctx, s.app, "The App")
		}),
		s.one("a role of the client is created", "client.role.created", func(ctx context.Context) (_ string, err error) {
			s.appAdmin, err = s.iam.CreateClientRole(ctx, s.realm.ID, s.app, "app-admin", ManageUsers)
			return s.appAdmin, err
		}),
		{"the client's role gets a description and another permission", func(ctx context.Context) ([]Expected, error) {
			if err := s.iam.UpdateRole(ctx, s.appAdmin, "app-admin", "Rules the app"); err != nil {
				return nil, err
			}
			updated := s.here("client.role.updated", s.appAdmin)
			return []Expected{updated, updated}, s.iam.SetRolePermissions(ctx, s.appAdmin, ManageUsers|ViewUsers)
		}},
		s.one("a user gets the client's role", "user.role.assigned", func(ctx context.Context) (string, error) {
			return s.bob, s.iam.AssignRole(ctx, s.realm.ID, s.bob, s.appAdmin)
		}),
		s.uris("a redirect URI", s.iam.AddRedirectURI, s.iam.UpdateRedirectURI, s.iam.DeleteRedirectURI),
		s.uris("a post-logout redirect URI", s.iam.AddPostLogoutRedirectURI, s.iam.UpdatePostLogoutRedirectURI, s.iam.DeletePostLogoutRedirectURI),
		{"a web origin comes and goes", func(ctx context.Context) ([]Expected, error) {
			origin, err := s.iam.AddWebOrigin(ctx, s.app, "https://app.example.com")
			if err != nil {
				return nil, err
			}
			return []Expected{s.here("web_origin.created", origin), s.here("web_origin.deleted", origin)}, s.iam.DeleteWebOrigin(ctx, s.app, origin)
		}},
		s.one("the client is closed for maintenance", "client.maintenance.enabled", func(ctx context.Context) (string, error) {
			return s.app, s.iam.SetClientMaintenance(ctx, s.realm.ID, s.app, true, "an upgrade")
		}),
		s.none("a user may use it nevertheless", func(ctx context.Context) error { return s.iam.AllowInMaintenance(ctx, s.app, s.bob) }),
		s.one("the client is opened again", "client.maintenance.disabled", func(ctx context.Context) (string, error) {
			return s.app, s.iam.SetClientMaintenance(ctx, s.realm.ID, s.app, false, "")
		}),
		s.devices(),
		{"the client is deleted, with a URI, an origin, a role that a user has, and its service account", func(ctx context.Context) ([]Expected, error) {
			uri, err := s.iam.AddRedirectURI(ctx, s.app, "https://app.example.com/callback")
			if err != nil {
				return nil, err
			}
			origin, err := s.iam.AddWebOrigin(ctx, s.app, "https://app.example.com")
			if err != nil {
				return nil, err
			}
			expected := []Expected{s.here("redirect_uri.created", uri), s.here("web_origin.created", origin), s.here("client.deleted", s.app)}
			return expected, s.iam.DeleteClient(ctx, s.realm.ID, s.app)
		}},
	}
}

// uris is the life of a URI of either kind: both kinds have the same events.
func (s *story) uris(what string, add func(context.Context, string, string) (string, error), update func(context.Context, string, bool) error, remove func(context.Context, string, string) error) Step {
	return Step{what + " is added, saved unchanged, disabled and deleted", func(ctx context.Context) ([]Expected, error) {
		uri, err := add(ctx, s.app, "https://app.example.com/callback")
		if err != nil {
			return nil, err
		}
		if err := update(ctx, uri, true); err != nil {
			return nil, err
		}
		if err := update(ctx, uri, false); err != nil {
			return nil, err
		}
		expected := []Expected{s.here("redirect_uri.created", uri), s.here("redirect_uri.updated", uri), s.here("redirect_uri.deleted", uri)}
		return expected, remove(ctx, s.app, uri)
	}}
}

func (s *story) devices() Step {
	return Step{"three devices ask to be let in: one is, one is not, one gives up", func(ctx context.Context) ([]Expected, error) {
		var expected []Expected
		for _, device := range []struct {
			end    func(code string) error
			events []string
		}{
			{func(code string) error { return s.iam.ApproveDevice(ctx, code, s.bob) }, []string{"auth.device_flow.initiated"}},
			{func(code string) error { return s.iam.DenyDevice(ctx, code, s.bob) }, []string{"auth.device_flow.initiated", "auth.device_flow.denied"}},
			{func(code string) error { return s.iam.ExpireDevice(ctx, code) }, []string{"auth.device_flow.initiated", "auth.device_flow.expired"}},
		} {
			code, err := s.iam.InitiateDevice(ctx, s.realm.ID, s.app)
			if err != nil {
				return nil, err
			}
			if err := s.iam.PollDevice(ctx, code); err != nil {
				return nil, err
			}
			if err := device.end(code); err != nil {
				return nil, err
			}
			for _, event := range device.events {
				expected = append(expected, s.here(event, s.app))
			}
		}
		return expected, nil
	}}
}

func (s *story) webhooks() []Step {
	// It subscribes to an event that nothing causes while it exists, so that it is sent nothing.
	hook := Webhook{Endpoint: "https://hooks.example.com/second", Name: "second", Events: []string{"user.bulk_deleted"}}
	var webhook string
	return []Step{
		s.one("a second webhook is created", "webhook.created", func(ctx context.Context) (_ string, err error) {
			webhook, _, err = s.iam.CreateWebhook(ctx, s.realm.ID, hook)
			return webhook, err
		}),
		s.one("the webhook is changed", "webhook.updated", func(ctx context.Context) (string, error) {
			hook.Name, hook.Events = "second, for clients", []string{"client.role.created", "user.bulk_deleted"}
			return webhook, s.iam.UpdateWebhook(ctx, webhook, hook)
		}),
		s.none("FerrisKey notes on the webhook how its own deliveries went", func(ctx context.Context) error {
			if err := s.iam.MarkWebhookDelivery(ctx, webhook, "failed", "http_500"); err != nil {
				return err
			}
			return s.iam.MarkWebhookDelivery(ctx, webhook, "success", "")
		}),
		s.one("the webhook is deleted", "webhook.deleted", func(ctx context.Context) (string, error) {
			return webhook, s.iam.DeleteWebhook(ctx, webhook)
		}),
	}
}
