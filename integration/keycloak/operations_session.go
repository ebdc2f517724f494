package keycloak

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func (s *Story) sessions() []Operation {
	var online token
	return []Operation{
		{Name: "a client for logins is created", Events: "client.created cli", Do: s.create("clients", client{
			ClientID: "cli", Public: true, DirectGrants: true, RedirectURIs: []string{loginRedirect},
		}, "cli")},
		{Name: "a user logs in with a password", Events: "session.created", Do: func(ctx context.Context) (err error) {
			online, err = s.grant(ctx, "bob", "bobs-password", "openid")
			return err
		}},
		{Name: "the user's token is refreshed", Do: func(ctx context.Context) error {
			refreshed, err := s.request(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {online.Refresh}})
			if err == nil {
				online = refreshed
			}
			return err
		}},
		{Name: "the user logs out", Events: "session.ended", Do: func(ctx context.Context) error {
			_, err := postForm(ctx, s.admin.http, s.admin.server.URL()+"/realms/"+s.realm+"/protocol/openid-connect/logout",
				url.Values{"client_id": {"cli"}, "refresh_token": {online.Refresh}})
			return err
		}},
		{Name: "a user logs in for offline access", Events: "session.created", Do: s.login("openid offline_access")},
		{Name: "a service account logs in", Do: func(ctx context.Context) error {
			_, err := requestToken(ctx, s.admin.http, s.admin.server, s.realm, url.Values{
				"grant_type": {"client_credentials"}, "client_id": {"service"}, "client_secret": {"service-secret"},
			})
			return err
		}},
		{Name: "a user logs in by browser", Events: "session.created", Do: func(ctx context.Context) (err error) { return s.users.login(ctx, s.realm, "bob", "bobs-password") }},
		{Name: "the browser's code becomes a token", Do: func(ctx context.Context) error {
			_, err := s.request(ctx, url.Values{"grant_type": {"authorization_code"}, "code": {s.users.code}, "redirect_uri": {loginRedirect}})
			return err
		}},
		{Name: "all sessions of the user are ended", Events: "session.ended", Do: s.post("users/{bob}/logout", none)},
		{Name: "the passwords' hash is changed", Events: "realm.settings.updated acme", Do: s.edit("", change{"passwordPolicy": "hashAlgorithm(pbkdf2-sha256) and hashIterations(1000)"})},
		{Name: "a login hashes the user's password again", Events: "session.created", Do: s.login("openid")},
		{Name: "an administrator ends a session", Events: "session.ended", Do: func(ctx context.Context) error {
			var sessions []struct{ ID string }
			if err := s.admin.Get(ctx, s.path("users/{bob}/sessions"), &sessions); err != nil {
				return err
			}
			if len(sessions) != 1 {
				return fmt.Errorf("the user has %d sessions, not one", len(sessions))
			}
			return s.admin.Delete(ctx, s.path("sessions/"+sessions[0].ID), nil)
		}},
		{Name: "a user logs in once more", Events: "session.created", Do: s.login("openid")},
		{Name: "the client asks for consent", Events: "client.updated cli", Do: s.edit("clients/{cli}", change{"consentRequired": true})},
		{Name: "a user logs in by browser, and consents", Events: "session.created, user.consent.granted erin", Do: func(ctx context.Context) error {
			return s.users.login(ctx, s.realm, "erin", "erins-password")
		}},
		{Name: "the user's consent is revoked", Events: "user.consent.revoked erin", Do: s.delete("users/{erin}/consents/cli")},
		{Name: "the client asks for consent no more", Events: "client.updated cli", Do: s.edit("clients/{cli}", change{"consentRequired": false})},
		{Name: "all sessions of the realm are ended, offline ones too", Events: "session.ended ×3, realm.settings.updated acme", Do: s.post("logout-all", none)},
	}
}

func (s *Story) failedLogins() []Operation {
	return []Operation{
		{Name: "a login fails", Do: s.failToLogin("erin")},
		{Name: "the failures of the user are forgotten", Do: s.delete("attack-detection/brute-force/users/{erin}")},
		{
			Name: "lockouts become permanent after two failures", Events: "realm.settings.updated acme",
			Do: s.edit("", change{"permanentLockout": true, "failureFactor": 2, "maxTemporaryLockouts": 0, "quickLoginCheckMilliSeconds": 1}),
		},
		{Name: "a user is locked out for good", Events: "user.updated erin", Do: func(ctx context.Context) error {
			for range 2 {
				if err := s.failToLogin("erin")(ctx); err != nil {
					return err
				}
			}
			return s.until(ctx, "users/{erin}", func(found change) bool { return found["enabled"] == false })
		}},
	}
}

// keycloakEvents are the operations in which Keycloak writes its own events into its tables.
func (s *Story) keycloakEvents() []Operation {
	events := change{"eventsEnabled": true, "adminEventsEnabled": true, "adminEventsDetailsEnabled": true, "enabledEventTypes": []string{"LOGIN", "LOGIN_ERROR", "LOGOUT"}}
	return []Operation{
		{Name: "Keycloak's events are switched on", Events: "realm.settings.updated acme", Do: s.edit("events/config", events)},
		{Name: "a user logs in, with events", Events: "session.created, keycloak.event", Do: s.login("openid")},
		{Name: "a login fails, with events", Events: "keycloak.event", Do: s.failToLogin("bob")},
		{Name: "a user gets another last name, with admin events", Events: "user.updated alice", Do: s.edit("users/{alice}", change{"lastName": "Hargreaves"})},
		{Name: "all sessions of the user are ended, with admin events", Events: "session.ended", Do: s.post("users/{bob}/logout", none)},
		{Name: "Keycloak's events are cleared", Do: all(s.delete("events"), s.delete("admin-events"))},
		{Name: "Keycloak's events are switched off", Events: "realm.settings.updated acme", Do: s.edit("events/config", change{"eventsEnabled": false, "adminEventsEnabled": false})},
	}
}

func (s *Story) request(ctx context.Context, form url.Values) (token, error) {
	form.Set("client_id", "cli")
	return requestToken(ctx, s.admin.http, s.admin.server, s.realm, form)
}

func (s *Story) grant(ctx context.Context, user, password, scope string) (token, error) {
	return s.request(ctx, url.Values{"grant_type": {"password"}, "username": {user}, "password": {password}, "scope": {scope}})
}

// login is one of the user whose password is known from the beginning.
func (s *Story) login(scope string) act {
	return func(ctx context.Context) error {
		_, err := s.grant(ctx, "bob", "bobs-password", scope)
		return err
	}
}

func (s *Story) failToLogin(user string) act {
	return func(ctx context.Context) error {
		_, err := s.grant(ctx, user, "wrong", "openid")
		if status, ok := errors.AsType[*statusError](err); ok && strings.Contains(status.body, `"invalid_grant"`) {
			return nil
		}
		return fmt.Errorf("a login with a wrong password did not fail as it must: %w", err)
	}
}

var errNotThere = errors.New("it is not there")

// until waits for what Keycloak does after it has answered.
func (s *Story) until(ctx context.Context, path string, condition func(change) bool) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var found change
		if err := s.admin.Get(ctx, s.path(path), &found); err != nil {
			return err
		}
		if condition(found) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not as it must become: %w", path, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// people makes users for an import.
func people(prefix string, n int, more func(*user)) (users []user) {
	for i := range n {
		name := prefix + "-" + strconv.Itoa(i)
		u := user{Username: name, Email: name + "@example.com", FirstName: "First", LastName: name, Enabled: true, Attributes: map[string][]string{"number": {strconv.Itoa(i)}}}
		if more != nil {
			more(&u)
		}
		users = append(users, u)
	}
	return users
}
