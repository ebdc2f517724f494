package keycloak

func (s *Story) clients() []Operation {
	return []Operation{
		{Name: "a client is created, with redirect URIs and an origin", Events: "client.created app", Do: s.create("clients", client{
			ClientID: "app", RedirectURIs: []string{"https://app.example.com/a", "https://app.example.com/b"}, WebOrigins: []string{"https://app.example.com"},
		}, "app")},
		{Name: "the client is saved unchanged", Do: s.save("clients/{app}")},
		{Name: "the client is saved unchanged again", Do: s.save("clients/{app}")},
		{Name: "the client is renamed", Events: "client.updated app", Do: s.edit("clients/{app}", change{"name": "The App"})},
		{Name: "a redirect URI is replaced", Events: "redirect_uri.deleted, redirect_uri.created", Do: s.edit("clients/{app}", change{"redirectUris": []string{"https://app.example.com/a", "https://app.example.com/c"}})},
		{Name: "a web origin is added", Events: "web_origin.created", Do: s.edit("clients/{app}", change{"webOrigins": []string{"https://app.example.com", "https://www.example.com"}})},
		{Name: "a web origin is removed", Events: "web_origin.deleted", Do: s.edit("clients/{app}", change{"webOrigins": []string{"https://app.example.com"}})},
		{Name: "the client gets an attribute", Events: "client.updated app", Do: s.edit("clients/{app}", change{"attributes": change{"access.token.lifespan": "600"}})},
		{Name: "the client gets another secret", Events: "client.updated app", Do: s.post("clients/{app}/client-secret", none)},
		{Name: "the client is disabled", Events: "client.updated app", Do: s.edit("clients/{app}", change{"enabled": false})},
		{Name: "a client with a service account is created", Events: "client.created service", Do: s.create("clients", client{ClientID: "service", ServiceAccount: true, Secret: "service-secret"}, "service")},
		{Name: "the service account gets a role", Events: "user.role.assigned service-user", Do: all(
			s.named("clients/{service}/service-account-user", "id", "service-user"), s.post("users/{service-user}/role-mappings/realm", s.roleList("operator")))},
	}
}

// clientParts are the objects that belong to a client and are created and deleted separately.
func (s *Story) clientParts() []Operation {
	mapper := protocolMapper{Name: "department", Protocol: "openid-connect", Mapper: "oidc-usermodel-attribute-mapper", Config: map[string]string{"user.attribute": "dept", "claim.name": "dept"}}
	return []Operation{
		{Name: "a role of the client is created", Events: "client.role.created app-admin", Do: s.created("clients/{app}/roles", role{Name: "app-admin"}, "clients/{app}/roles/app-admin", "id", "app-admin")},
		{Name: "the client's role gets a description", Events: "client.role.updated app-admin", Do: s.edit("roles-by-id/{app-admin}", change{"description": "Rules the app"})},
		{Name: "the client gets a protocol mapper", Events: "client.updated app", Do: s.create("clients/{app}/protocol-mappers/models", mapper, "mapper")},
		{Name: "the client's protocol mapper gets another claim", Events: "client.updated app", Do: s.edit("clients/{app}/protocol-mappers/models/{mapper}", change{"config": change{"claim.name": "department"}})},
		{Name: "the client loses the protocol mapper", Events: "client.updated app", Do: s.delete("clients/{app}/protocol-mappers/models/{mapper}")},
		{Name: "a client scope is created", Events: "client_scope.created scope", Do: s.create("client-scopes", clientScope{Name: "department", Protocol: "openid-connect"}, "scope")},
		{Name: "the client scope gets a description", Events: "client_scope.updated scope", Do: s.edit("client-scopes/{scope}", change{"description": "The department"})},
		{Name: "the client scope gets a protocol mapper", Events: "client_scope.updated scope", Do: s.create("client-scopes/{scope}/protocol-mappers/models", mapper, "scope-mapper")},
		{Name: "the client gets the client scope", Events: "client.updated app", Do: s.put("clients/{app}/default-client-scopes/{scope}", nil)},
		{Name: "the client loses the client scope", Events: "client.updated app", Do: s.delete("clients/{app}/default-client-scopes/{scope}")},
		{Name: "the client scope is deleted", Events: "client_scope.deleted scope", Do: s.delete("client-scopes/{scope}")},
	}
}
