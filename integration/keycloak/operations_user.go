package keycloak

import (
	"context"
	"strings"
)

func (s *Story) userBasics() []Operation {
	alice := user{
		Username: "alice", Email: "alice@example.com", FirstName: "Alice", LastName: "Liddell", Enabled: true,
		Attributes: map[string][]string{"dept": {"x", "y"}, "level": {"1"}},
	}
	bob := user{
		Username: "bob", Email: "bob@example.com", FirstName: "Bob", LastName: "Builder", Enabled: true,
		Credentials: []credential{{Type: "password", Value: "bobs-password"}},
	}
	carol := user{Username: "carol", Enabled: true, RequiredActions: []string{"VERIFY_EMAIL"}, Credentials: []credential{{Type: "password", Value: "carols-password"}}}
	return []Operation{
		{Name: "a user is created, with attributes", Events: "user.created alice", Do: s.create("users", alice, "alice")},
		{Name: "a user is created, with a password", Events: "user.created bob", Do: s.create("users", bob, "bob")},
		{Name: "a user is created, with a password and a required action", Events: "user.created carol", Do: s.create("users", carol, "carol")},
		{Name: "the user is saved unchanged", Do: s.save("users/{alice}")},
		{Name: "the user gets another first name", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"firstName": "Alicia"})},
		{
			Name: "of the user's attributes, one is changed, one removed and one added", Events: "user.updated alice",
			Do: s.edit("users/{alice}", change{"attributes": change{"dept": []string{"x", "z"}, "level": nil, "room": []string{"7"}}}),
		},
		{
			Name: "the user gets another attribute and last name", Events: "user.updated alice",
			Do: s.edit("users/{alice}", change{"lastName": "Pleasance", "attributes": change{"room": []string{"8"}}}),
		},
		{Name: "the user gets a long attribute", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"attributes": change{"about": []string{strings.Repeat("long ", 200)}}})},
		{Name: "the user is saved unchanged, with a long attribute", Do: s.save("users/{alice}")},
		{Name: "the user loses the email address", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"email": ""})},
		{Name: "the user is disabled", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"enabled": false})},
		{Name: "the user is enabled", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"enabled": true})},
		{Name: "the user gets a required action", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"requiredActions": []string{"UPDATE_PROFILE", "VERIFY_EMAIL"}})},
		{Name: "the user loses the required actions", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"requiredActions": []string{}})},
	}
}

func (s *Story) userParts() []Operation {
	return []Operation{
		{Name: "the user gets two roles", Events: "user.role.assigned alice ×2", Do: s.post("users/{alice}/role-mappings/realm", s.roleList("operator", "part-1"))},
		{Name: "the user loses a role", Events: "user.role.unassigned alice", Do: s.deleteOf("users/{alice}/role-mappings/realm", s.roleList("part-1"))},
		{Name: "the user gets a role of the client", Events: "user.role.assigned alice", Do: s.post("users/{alice}/role-mappings/clients/{app}", s.roleList("app-admin"))},
		{Name: "the user loses the role of the client", Events: "user.role.unassigned alice", Do: s.deleteOf("users/{alice}/role-mappings/clients/{app}", s.roleList("app-admin"))},
		{
			Name: "a user is imported under an id that is not a UUID", Events: "user.created",
			Do: s.post("partialImport", func() any {
				return partialImport{IfResourceExists: "FAIL", Users: []user{{ID: "user-no-1", Username: "odd", Enabled: true}}}
			}),
		},
	}
}

func (s *Story) credentials() []Operation {
	password := func(value string, temporary bool) act {
		return s.put("users/{alice}/reset-password", credential{Type: "password", Value: value, Temporary: temporary})
	}
	otp := user{Username: "dave", Enabled: true, Credentials: []credential{
		{Type: "password", Value: "daves-password"},
		{
			Type: "otp", SecretData: `{"value":"JBSWY3DPEHPK3PXP"}`,
			CredentialData: `{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}`,
		},
	}}
	return []Operation{
		{Name: "the user gets a password", Events: "user.password.changed alice", Do: password("first-password", false)},
		{Name: "the user gets another password", Events: "user.password.changed alice", Do: password("second-password", false)},
		{Name: "the user gets a temporary password", Events: "user.password.changed alice, user.updated alice", Do: password("third-password", true)},
		{Name: "the user gets a lasting password, and the oldest is forgotten", Events: "user.password.changed alice, user.updated alice", Do: password("fourth-password", false)},
		{Name: "the user's password gets a label", Do: func(ctx context.Context) error {
			return s.onCredential(ctx, "alice", "password", func(path string) error { return s.admin.PutText(ctx, path+"/userLabel", "my password") })
		}},
		{Name: "the user's password is deleted", Events: "user.credentials.deleted alice", Do: s.deleteCredential("alice", "password")},
		{Name: "a user is created, with an OTP device", Events: "user.created dave", Do: s.create("users", otp, "dave")},
		{Name: "the user's OTP device is deleted", Events: "user.credentials.deleted dave", Do: s.deleteCredential("dave", "otp")},
	}
}

func (s *Story) deleteCredential(user, kind string) act {
	return func(ctx context.Context) error {
		return s.onCredential(ctx, user, kind, func(path string) error { return s.admin.Delete(ctx, path, nil) })
	}
}

// onCredential does something to the first of a user's credentials of a type.
func (s *Story) onCredential(ctx context.Context, user, kind string, do func(path string) error) error {
	var found []struct{ ID, Type string }
	if err := s.admin.Get(ctx, s.path("users/{"+user+"}/credentials"), &found); err != nil {
		return err
	}
	for _, c := range found {
		if c.Type == kind {
			return do(s.path("users/{"+user+"}/credentials/") + c.ID)
		}
	}
	return errNotThere
}
