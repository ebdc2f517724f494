package keycloak

import (
	"context"
	"time"
)

func (s *Story) realmBegins() []Operation {
	return []Operation{
		{Name: "the master realm gets another token lifespan", Events: "realm.settings.updated master", Realm: "master", Do: func(ctx context.Context) error {
			if err := s.find(ctx, "/master", "id", "master"); err != nil {
				return err
			}
			return s.admin.Edit(ctx, "master", change{"accessTokenLifespan": 3600})
		}},
		{Name: "a realm is created", Events: "realm.created acme", Do: s.created("/", realm{Realm: "acme", Enabled: true}, "", "id", "acme")},
		{Name: "the realm gets a display name", Events: "realm.updated acme", Do: s.edit("", change{"displayName": "Acme"})},
		{Name: "the realm gets the same display name", Do: s.put("", change{"realm": "acme", "displayName": "Acme"})},
		{Name: "the realm is saved unchanged", Do: s.save("")},
		{Name: "the realm is saved unchanged again", Do: s.save("")},
	}
}

func (s *Story) realmSettings() []Operation {
	smtp := change{"smtpServer": change{"host": "smtp.example.com", "port": "25", "from": "iam@example.com", "auth": "true", "user": "iam", "password": "smtp-password"}}
	return []Operation{
		{Name: "the realm gets a password policy", Events: "realm.settings.updated acme", Do: s.edit("", change{"passwordPolicy": "passwordHistory(2)"})},
		{Name: "brute force protection is switched on", Events: "realm.settings.updated acme", Do: s.edit("", change{"bruteForceProtected": true})},
		{Name: "the realm gets an SMTP server", Events: "realm.settings.updated acme", Do: s.edit("", smtp)},
		{Name: "the realm is saved unchanged with an SMTP server", Do: s.save("")},
		{Name: "the realm's user profile allows any attribute", Events: "realm.settings.updated acme", Do: s.edit("users/profile", change{"unmanagedAttributePolicy": "ENABLED"})},
		{Name: "a user federation is created", Events: "component.created ldap", Do: s.create("components", component{
			Name: "ldap", ProviderID: "ldap", ProviderType: "org.keycloak.storage.UserStorageProvider", Config: map[string][]string{
				"enabled": {"false"}, "vendor": {"other"}, "connectionUrl": {"ldap://127.0.0.1:1"}, "usersDn": {"ou=users"}, "authType": {"simple"},
				"bindDn": {"cn=admin"}, "bindCredential": {"bind-password"}, "usernameLDAPAttribute": {"uid"}, "rdnLDAPAttribute": {"uid"},
				"uuidLDAPAttribute": {"entryUUID"}, "userObjectClasses": {"inetOrgPerson"}, "editMode": {"READ_ONLY"},
			},
		}, "ldap")},
		{Name: "the user federation is renamed", Events: "component.updated ldap", Do: s.edit("components/{ldap}", change{"name": "directory"})},
		{Name: "the user federation gets another address", Events: "component.updated ldap", Do: s.edit("components/{ldap}", change{"config": change{"connectionUrl": []string{"ldap://127.0.0.1:2"}}})},
		{Name: "the user federation is saved unchanged", Do: s.save("components/{ldap}")},
		{Name: "the user federation is deleted", Events: "component.deleted ldap", Do: s.delete("components/{ldap}")},
		{Name: "an authentication flow is copied", Events: "realm.settings.updated acme", Do: s.post("authentication/flows/browser/copy", func() any { return change{"newName": "browser copy"} })},
		{Name: "a required action is switched off", Events: "realm.settings.updated acme", Do: s.edit("authentication/required-actions/TERMS_AND_CONDITIONS", change{"enabled": true})},
		{Name: "tokens from before now are revoked", Events: "realm.settings.updated acme", Do: func(ctx context.Context) error {
			return s.admin.Edit(ctx, s.path(""), change{"notBefore": time.Now().Add(-time.Hour).Unix()})
		}},
	}
}

func (s *Story) realmEnds() []Operation {
	return []Operation{
		{Name: "the realm is renamed", Events: "realm.updated acme", Do: func(ctx context.Context) error {
			if err := s.admin.Edit(ctx, s.path(""), change{"realm": "acme2"}); err != nil {
				return err
			}
			s.realm = "acme2"
			return nil
		}},
		{Name: "the realm is deleted, with its users", Events: "realm.deleted acme", Do: s.delete("")},
	}
}
