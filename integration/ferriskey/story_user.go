package ferriskey

import (
	"context"
	"time"
)

func (s *story) users() []Step {
	return []Step{
		{"an administrator creates four users", func(ctx context.Context) ([]Expected, error) {
			var expected []Expected
			for _, user := range []struct {
				name string
				id   *string
			}{{"alice", &s.alice}, {"bob", &s.bob}, {"carol", &s.carol}, {"dave", &s.dave}} {
				id, err := s.iam.CreateUser(ctx, s.realm.ID, User{Username: user.name, Firstname: user.name, Email: user.name + "@example.com", Enabled: true})
				if err != nil {
					return nil, err
				}
				*user.id = id
				expected = append(expected, s.here("user.created", id))
			}
			return expected, nil
		}},
		s.one("a user is updated", "user.updated", func(ctx context.Context) (string, error) {
			return s.alice, s.iam.UpdateUser(ctx, s.alice, User{Firstname: "Alice", Lastname: "Liddell", Email: "alice@example.com", Enabled: true})
		}),
		s.none("the user is saved unchanged", func(ctx context.Context) error {
			return s.iam.UpdateUser(ctx, s.alice, User{Firstname: "Alice", Lastname: "Liddell", Email: "alice@example.com", Enabled: true})
		}),
		s.none("the user gets an attribute", func(ctx context.Context) error {
			return s.iam.SetAttribute(ctx, s.realm.ID, s.alice, "phone_number", "+1 555 0100")
		}),
		s.one("a user is disabled and loses the sessions", "user.updated", func(ctx context.Context) (string, error) {
			if err := s.iam.Login(ctx, s.realm.ID, s.dave); err != nil {
				return "", err
			}
			return s.dave, s.iam.UpdateUser(ctx, s.dave, User{Firstname: "dave", Email: "dave@example.com"})
		}),
		{"a user registers, and verifies the address", func(ctx context.Context) ([]Expected, error) {
			user, _, err := s.iam.RegisterUser(ctx, s.realm.ID, User{Username: "erin", Email: "erin@example.com", Enabled: true})
			if err != nil {
				return nil, err
			}
			return []Expected{s.here("user.created", user), s.here("user.email_verified", user)}, s.iam.VerifyEmail(ctx, s.realm.ID, user)
		}},
		s.none("a user gets a password and a one-time password", func(ctx context.Context) (err error) {
			if _, err = s.iam.AddCredential(ctx, s.alice, "password"); err == nil {
				s.otp, err = s.iam.AddCredential(ctx, s.alice, "otp")
			}
			return err
		}),
		s.one("a user asks for a new password", "auth.reset_password", func(ctx context.Context) (string, error) {
			_, err := s.iam.RequestPasswordReset(ctx, s.realm.ID, s.alice)
			return s.alice, err
		}),
		s.none("the user chooses the new password", func(ctx context.Context) error {
			_, err := s.iam.CompletePasswordReset(ctx, s.realm.ID, s.alice)
			return err
		}),
		s.none("an administrator replaces the password", func(ctx context.Context) error {
			_, err := s.iam.ReplacePassword(ctx, s.realm.ID, s.alice)
			return err
		}),
		{"a user's one-time password is deleted", func(ctx context.Context) ([]Expected, error) {
			deleted := s.here("user.credentials.deleted", s.alice)
			deleted.Held = 5 * time.Second
			return []Expected{deleted}, s.iam.DeleteCredential(ctx, s.otp)
		}},
		s.one("users are deleted in bulk", "user.bulk_deleted", func(ctx context.Context) (string, error) {
			return s.realm.ID, s.iam.BulkDeleteUsers(ctx, s.realm.ID, s.carol, s.dave)
		}),
	}
}

// logins are what happens all day.
func (s *story) logins() []Step {
	return []Step{
		s.none("a user logs in", func(ctx context.Context) error { return s.iam.Login(ctx, s.realm.ID, s.alice) }),
		s.none("a user mistypes the password, then logs in", func(ctx context.Context) error {
			if err := s.iam.FailLogin(ctx, s.realm.ID, s.alice); err != nil {
				return err
			}
			return s.iam.Login(ctx, s.realm.ID, s.alice)
		}),
		{"a user is deleted, with credentials, a role, sessions and an attribute", func(ctx context.Context) ([]Expected, error) {
			if err := s.iam.AssignRole(ctx, s.realm.ID, s.alice, s.operator); err != nil {
				return nil, err
			}
			return []Expected{s.here("user.role.assigned", s.alice), s.here("user.deleted", s.alice)}, s.iam.DeleteUser(ctx, s.realm.ID, s.alice)
		}},
	}
}
