package keycloak

import "context"

func (s *Story) imports() []Operation {
	withPassword := 3 // hashing takes long
	workers := people("worker", 50, func(u *user) {
		u.Groups, u.RealmRoles = []string{"/personnel"}, []string{"operator"}
		if withPassword > 0 {
			u.Credentials = []credential{{Type: "password", Value: "workers-password"}}
			withPassword--
		}
	})
	importing := func(ifExists string, n int) act {
		return s.post("partialImport", func() any { return partialImport{IfResourceExists: ifExists, Users: workers[:n]} })
	}
	return []Operation{
		{Name: "fifty users are imported, in a group and with a role", Events: "user.created ×50, user.group.joined ×50", Do: importing("FAIL", 50)},
		{Name: "two of them are imported again, to overwrite", Events: "user.bulk_deleted, user.created ×2, user.group.joined ×2", Do: importing("OVERWRITE", 2)},
		{Name: "two of them are imported again, to be skipped", Do: importing("SKIP", 2)},
	}
}

func (s *Story) deletions() []Operation {
	return []Operation{
		{Name: "a role is deleted that fifty users have", Events: "role.deleted operator", Do: s.delete("roles-by-id/{operator}")},
		{Name: "a group is deleted, with a subgroup and fifty members", Events: "group.deleted staff", Do: s.delete("groups/{staff}")},
		{Name: "a role of a client is deleted", Events: "role.deleted app-admin", Do: s.delete("roles-by-id/{app-admin}")},
		{Name: "a client is deleted, with its service account", Events: "client.deleted service", Do: s.delete("clients/{service}")},
		{Name: "a client is deleted", Events: "client.deleted app", Do: s.delete("clients/{app}")},
		{Name: "a user is deleted", Events: "user.deleted alice", Do: s.delete("users/{alice}")},
		{Name: "an organization is deleted, with a member", Events: "organization.deleted partner", Do: s.delete("organizations/{partner}")},
		{Name: "an identity provider is deleted", Events: "identity_provider.deleted corp", Do: s.delete("identity-provider/instances/corp")},
	}
}

// largeRealm is a realm of 2,000 users, whose deletion is one transaction.
func (s *Story) largeRealm() []Operation {
	return []Operation{
		{Name: "a large realm is created", Realm: "large", Events: "realm.created large", Do: s.created("/", realm{Realm: "large", Enabled: true}, "/large", "id", "large")},
		{Name: "two thousand users are imported", Realm: "large", Events: "user.created ×2000", Do: s.post("/large/partialImport", func() any {
			return partialImport{IfResourceExists: "FAIL", Users: people("member", 2000, nil)}
		})},
		{Name: "the large realm is deleted", Realm: "large", Events: "realm.deleted large", Do: s.delete("/large")},
	}
}

// upgrade is to the newest version, and nothing where that is what runs.
func (s *Story) upgrade() []Operation {
	return []Operation{{Name: "Keycloak is upgraded to the newest version", Realm: "master", Do: func(ctx context.Context) error {
		versions := Versions()
		if newest := versions[len(versions)-1]; s.admin.server.Version != newest {
			return s.admin.server.Upgrade(ctx, newest)
		}
		return nil
	}}}
}
