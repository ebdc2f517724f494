package ferriskey

import "context"

func (s *story) beginning() []Step {
	return []Step{
		{"a realm is created", func(ctx context.Context) (_ []Expected, err error) {
			if s.realm, err = s.iam.CreateRealm(ctx, "acme", "Acme"); err != nil {
				return nil, err
			}
			master := s.iam.Master.ID
			return []Expected{
				s.here("realm.created", s.realm.ID),
				{Event: "client.created", Resource: s.realm.ManagementClient, Realm: master},
				{Event: "client.role.created", Resource: s.realm.ManagementRole, Realm: master},
				{Event: "user.role.assigned", Resource: s.iam.Admin, Realm: master},
				s.here("client.created", s.realm.AdminCLI),
				s.here("client.created", s.realm.Account),
				s.here("client.created", s.realm.Console),
				s.here("redirect_uri.created", s.realm.ConsoleURI),
			}, nil
		}},
		{"the realm gets a webhook", func(ctx context.Context) ([]Expected, error) {
			if s.hook.Endpoint == "" {
				return nil, nil
			}
			webhook, _, err := s.iam.CreateWebhook(ctx, s.realm.ID, s.hook)
			return []Expected{s.here("webhook.created", webhook)}, err
		}},
		s.one("the realm gets another display name", "realm.updated", func(ctx context.Context) (string, error) {
			return s.realm.ID, s.iam.UpdateRealm(ctx, s.realm.ID, s.realm.Name, "Acme Corporation")
		}),
		{"the realm's settings are changed", func(ctx context.Context) ([]Expected, error) {
			// A second change, of two columns of which one keeps its value.
			for _, columns := range []map[string]any{{"remember_me_enabled": true}, {"remember_me_enabled": true, "lockout_threshold": 5}} {
				if err := s.iam.UpdateRealmSettings(ctx, s.realm.ID, columns); err != nil {
					return nil, err
				}
			}
			return []Expected{s.here("realm.settings.updated", s.realm.SettingsID), s.here("realm.settings.updated", s.realm.SettingsID)}, nil
		}},
		s.none("the realm's settings are saved unchanged", func(ctx context.Context) error {
			return s.iam.UpdateRealmSettings(ctx, s.realm.ID, map[string]any{"lockout_threshold": 5})
		}),
		s.none("a portal theme is activated", func(ctx context.Context) error {
			_, err := s.iam.ActivateTheme(ctx, s.realm.ID, "Dark")
			return err
		}),
		s.none("a migration of FerrisKey's schema is recorded", func(ctx context.Context) error {
			return s.iam.Migrate(ctx, 20260820000000, "add an index")
		}),
	}
}

func (s *story) ending() []Step {
	return []Step{
		{"the realm is deleted, with a webhook and a user that has a role", func(ctx context.Context) ([]Expected, error) {
			if err := s.iam.AssignRole(ctx, s.realm.ID, s.bob, s.operator); err != nil {
				return nil, err
			}
			return []Expected{s.here("user.role.assigned", s.bob), s.here("realm.deleted", s.realm.ID)}, s.iam.DeleteRealm(ctx, s.realm)
		}},
	}
}
