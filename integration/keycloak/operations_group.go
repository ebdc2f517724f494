package keycloak

func (s *Story) groups() []Operation {
	return []Operation{
		{Name: "a group is created", Events: "group.created staff", Do: s.create("groups", group{Name: "staff", Attributes: map[string][]string{"floor": {"1"}}}, "staff")},
		{Name: "a subgroup is created", Events: "group.created night", Do: s.create("groups/{staff}/children", group{Name: "night"}, "night")},
		{Name: "the group is renamed", Events: "group.updated staff", Do: s.edit("groups/{staff}", change{"name": "personnel"})},
		{Name: "the group gets another attribute", Events: "group.updated staff", Do: s.edit("groups/{staff}", change{"attributes": change{"floor": []string{"2"}}})},
		{Name: "the group is saved unchanged", Do: s.save("groups/{staff}")},
		{Name: "the group gets a role", Events: "group.role.assigned staff", Do: s.post("groups/{staff}/role-mappings/realm", s.roleList("viewer"))},
		{Name: "the group loses the role", Events: "group.role.unassigned staff", Do: s.deleteOf("groups/{staff}/role-mappings/realm", s.roleList("viewer"))},
		{Name: "a user joins the group", Events: "user.group.joined alice", Do: s.put("users/{alice}/groups/{staff}", nil)},
		{Name: "a user leaves the group", Events: "user.group.left alice", Do: s.delete("users/{alice}/groups/{staff}")},
		{
			Name: "a user is created in a group", Events: "user.created erin, user.group.joined erin",
			Do: s.create("users", user{Username: "erin", Email: "erin@example.com", FirstName: "Erin", LastName: "Example", Enabled: true, Groups: []string{"/personnel"}, Credentials: []credential{{Type: "password", Value: "erins-password"}}}, "erin"),
		},
	}
}

func (s *Story) identityProviders() []Operation {
	provider := identityProvider{Alias: "corp", ProviderID: "oidc", Enabled: true, Config: map[string]string{
		"clientId": "keycloak", "clientSecret": "idp-secret", "authorizationUrl": "https://corp.example.com/auth", "tokenUrl": "https://corp.example.com/token",
	}}
	return []Operation{
		{Name: "an identity provider is created", Events: "identity_provider.created corp", Do: s.created("identity-provider/instances", provider, "identity-provider/instances/corp", "internalId", "corp")},
		{Name: "the identity provider gets a display name", Events: "identity_provider.updated corp", Do: s.edit("identity-provider/instances/corp", change{"displayName": "Corp"})},
		{Name: "the identity provider gets another address", Events: "identity_provider.updated corp", Do: s.edit("identity-provider/instances/corp", change{"config": change{"tokenUrl": "https://corp.example.com/t"}})},
		{Name: "the identity provider is saved unchanged", Do: s.save("identity-provider/instances/corp")},
		{Name: "a user's identity is linked", Events: "user.identity.linked alice", Do: s.post("users/{alice}/federated-identity/corp", func() any { return federatedIdentity{UserID: "0815", UserName: "alice@corp"} })},
		{Name: "the user's identity is unlinked", Events: "user.identity.unlinked alice", Do: s.delete("users/{alice}/federated-identity/corp")},
	}
}

func (s *Story) organizations() []Operation {
	id := func(name string) func() any { return func() any { return s.ids[name] } }
	org := organization{Name: "Partner", Alias: "partner", Enabled: true, Domains: []domain{{Name: "partner.example.com"}}}
	return []Operation{
		{Name: "organizations are switched on", Events: "realm.settings.updated acme", Do: s.edit("", change{"organizationsEnabled": true})},
		{Name: "an organization is created", Events: "organization.created partner", Do: s.create("organizations", org, "partner")},
		{Name: "the organization gets a description", Events: "organization.updated partner", Do: s.edit("organizations/{partner}", change{"description": "A partner"})},
		{
			Name: "the organization gets another domain", Events: "organization.updated partner",
			Do: s.edit("organizations/{partner}", change{"domains": []domain{{Name: "partner.example.com"}, {Name: "partner.example.org", Verified: true}}}),
		},
		{Name: "the organization gets a member", Events: "organization.member.added", Do: s.post("organizations/{partner}/members", id("erin"))},
		{Name: "the organization loses the member", Events: "organization.member.removed", Do: s.delete("organizations/{partner}/members/{erin}")},
		{Name: "the organization gets an identity provider", Events: "identity_provider.updated corp", Do: s.post("organizations/{partner}/identity-providers", func() any { return "corp" })},
		{Name: "the organization gets a member again", Events: "organization.member.added", Do: s.post("organizations/{partner}/members", id("erin"))},
	}
}
