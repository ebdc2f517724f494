package integration_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// The preset works on the tables of every release of FerrisKey: check, setup and run accept them, and each documented event comes,
// once, in the form that the columns allow.
func TestFerrisKey_Releases(t *testing.T) {
	t.Parallel()
	for _, release := range ferriskey.Releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			w := newRelease(t, release)
			cfg := w.config().webhook(w.hook, "/all")
			for _, command := range []string{"check", "setup", "check"} {
				if out, err := exec.CommandContext(within(t), binary, command, "--config", cfg.write(t)).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", command, err, out)
				}
			}
			p := start(t, cfg)
			s := releaseStory{world: w.world, columns: w.columns}
			s.play()
			got := s.account.arrives(t, w.hook, "/all")
			w.checkForms(t, got)
			p.stop()
			for _, name := range ferriskey.Documented {
				if !slices.ContainsFunc(s.account.expected, func(e ferriskey.Expected) bool { return e.Event == name }) {
					t.Errorf("nothing is done that makes %s", name)
				}
			}
		})
	}
}

type releaseWorld struct {
	*world
	release string
	columns map[string]bool // "table column"
}

func newRelease(t *testing.T, release string) *releaseWorld {
	t.Helper()
	w := &releaseWorld{release: release, columns: map[string]bool{}}
	w.world = &world{t: t, url: clustertest.Database(t), name: fmt.Sprintf("relay_%d", worlds.Add(1)), hook: startReceiver(t)}
	w.db = connect(t, w.url)
	columns, err := ferriskey.ReleaseColumns(release)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range columns {
		w.columns[c.Table+" "+c.Name] = true
	}
	conn, err := w.db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if err := ferriskey.CreateRelease(t.Context(), conn.Conn(), release); err != nil {
		t.Fatal(err)
	}
	return w
}

// checkForms looks at what differs between the releases: fields of newer columns are there exactly where the columns are.
func (w *releaseWorld) checkForms(t *testing.T, got []receiver.Delivery) {
	t.Helper()
	bodies := map[string]string{}
	for i := range got {
		bodies[got[i].Event] += string(got[i].Body) + "\n" // in the order of arrival, which is not that of the commits
	}
	displayName := `"display_name":null`
	if w.columns["realms display_name"] {
		displayName = `"display_name":"Acme"`
	}
	for event, want := range map[string]string{
		"realm.updated":           displayName,
		"role.permission.updated": `"permissions":["create_client","manage_organizations","view_organizations","unknown_29","unknown_63"]`,
		"realm.settings.updated":  `"magic_link_ttl":15,"passkey_enabled":false,"compass_enabled":true,"access_token_lifetime":300,"refresh_token_lifetime":86400`,
	} {
		if !strings.Contains(bodies[event], want) {
			t.Errorf("%s has no %s: %s", event, want, bodies[event])
		}
	}
	for event, field := range map[string]string{
		"client.updated": "clients token_exchange_enabled", "user.updated": "users locale", "realm.settings.updated": "realm_settings edit_username_enabled",
	} {
		_, name, _ := strings.Cut(field, " ")
		if has := strings.Contains(bodies[event], `"`+name+`":`); has != w.columns[field] {
			t.Errorf("%s has a field %s: %t; the column is there: %t", event, name, has, w.columns[field])
		}
	}
}

// releaseStory does what makes the events, with the columns that every release has and those that the table has besides.
type releaseStory struct {
	*world
	account account
	columns map[string]bool
	realm   string
}

// do runs one statement as one transaction, after which each of the events must come, in the story's realm.
func (s *releaseStory) do(sql string, arguments []any, events ...string) {
	s.t.Helper()
	s.exec(sql, arguments...)
	for _, e := range events {
		name, resource, _ := strings.Cut(e, " ")
		s.account.add(expect(name, resource, s.realm))
	}
}

func (s *releaseStory) play() {
	s.realm = ferriskey.NewID()
	s.do(`INSERT INTO realms (id, name) VALUES ($1, 'acme')`, []any{s.realm}, "realm.created "+s.realm)
	s.do(`UPDATE realms SET name = 'acme2' WHERE id = $1`, []any{s.realm}, "realm.updated "+s.realm)
	if s.columns["realms display_name"] {
		s.do(`UPDATE realms SET display_name = 'Acme' WHERE id = $1`, []any{s.realm}, "realm.updated "+s.realm)
	}
	settings := ferriskey.NewID()
	s.do(`INSERT INTO realm_settings (id, realm_id) VALUES ($1, $2)`, []any{settings, s.realm})
	s.do(`UPDATE realm_settings SET remember_me_enabled = true WHERE id = $1`, []any{settings}, "realm.settings.updated "+settings)
	client, clientRole := ferriskey.NewID(), ferriskey.NewID()
	s.do(`INSERT INTO clients (id, realm_id, name, client_id, protocol, client_type) VALUES ($1, $2, 'App', 'app', 'openid-connect', 'public')`,
		[]any{client, s.realm}, "client.created "+client)
	s.do(`UPDATE clients SET name = 'New name' WHERE id = $1`, []any{client}, "client.updated "+client)
	s.do(`INSERT INTO roles (id, name, realm_id, client_id) VALUES ($1, 'app-admin', $2, $3)`, []any{clientRole, s.realm, client}, "client.role.created "+clientRole)
	s.do(`UPDATE roles SET name = 'app-owner' WHERE id = $1`, []any{clientRole}, "client.role.updated "+clientRole)
	s.uris(client)
	s.users()
	s.webhooks()
	s.newer(client)
	s.do(`DELETE FROM clients WHERE id = $1`, []any{client}, "client.deleted "+client)
	s.do(`DELETE FROM realms WHERE id = $1`, []any{s.realm}, "realm.deleted "+s.realm)
}

func (s *releaseStory) uris(client string) {
	for _, table := range []string{"redirect_uris", "post_logout_redirect_uris"} {
		uri := ferriskey.NewID()
		s.do(`INSERT INTO `+table+` (id, client_id, value, created_at, updated_at) VALUES ($1, $2, 'https://app.example.com', now(), now())`,
			[]any{uri, client}, "redirect_uri.created "+uri)
		s.do(`UPDATE `+table+` SET enabled = false WHERE id = $1`, []any{uri}, "redirect_uri.updated "+uri)
		s.do(`DELETE FROM `+table+` WHERE id = $1`, []any{uri}, "redirect_uri.deleted "+uri)
	}
}

func (s *releaseStory) users() {
	var users []string
	for i := range 3 {
		user := ferriskey.NewID()
		users = append(users, user)
		s.do(`INSERT INTO users (id, realm_id, username, firstname, lastname, email) VALUES ($1, $2, $3, 'A', 'B', $3)`,
			[]any{user, s.realm, fmt.Sprintf("user-%d", i)}, "user.created "+user)
	}
	first := users[0]
	if s.columns["users locale"] {
		s.do(`UPDATE users SET locale = 'de' WHERE id = $1`, []any{first}, "user.updated "+first)
	}
	s.do(`UPDATE users SET firstname = 'C' WHERE id = $1`, []any{first}, "user.updated "+first)
	s.do(`UPDATE users SET email_verified = true WHERE id = $1`, []any{first}, "user.email_verified "+first)
	role, credential := ferriskey.NewID(), ferriskey.NewID()
	s.do(`INSERT INTO roles (id, name, realm_id) VALUES ($1, 'operator', $2)`, []any{role, s.realm}, "role.created "+role)
	s.do(`UPDATE roles SET description = 'operates' WHERE id = $1`, []any{role}, "role.updated "+role)
	s.do(`UPDATE roles SET permissions = (1::bigint << 63) | (7::bigint << 27) | 1 WHERE id = $1`, []any{role}, "role.permission.updated "+role)
	s.do(`INSERT INTO user_role (user_id, role_id, created_at, updated_at) VALUES ($1, $2, now(), now())`, []any{first, role}, "user.role.assigned "+first)
	s.do(`DELETE FROM user_role WHERE user_id = $1`, []any{first}, "user.role.unassigned "+first)
	s.do(`DELETE FROM roles WHERE id = $1`, []any{role}, "role.deleted "+role)
	s.do(`INSERT INTO credentials (id, user_id, credential_type, secret_data, credential_data) VALUES ($1, $2, 'webauthn-public-key-credential', 'x', '{}')`, []any{credential, first})
	s.do(`DELETE FROM credentials WHERE id = $1`, []any{credential}, "user.credentials.deleted "+first)
	s.do(`INSERT INTO password_reset_tokens (id, user_id, realm_id, token_id, token_hash, expires_at) VALUES ($1, $2, $3, $1, 'x', now())`,
		[]any{ferriskey.NewID(), first, s.realm}, "auth.reset_password "+first)
	s.do(`DELETE FROM users WHERE id = $1`, []any{first}, "user.deleted "+first)
	s.do(`DELETE FROM users WHERE id = ANY ($1)`, []any{users[1:]}, "user.bulk_deleted "+s.realm)
}

func (s *releaseStory) webhooks() {
	hook := ferriskey.NewID()
	more, value := "", ""
	if s.columns["webhooks secret"] {
		more, value = ", secret", ", 'a secret of sixteen bytes'"
	}
	s.do(`INSERT INTO webhooks (id, realm_id, endpoint`+more+`) VALUES ($1, $2, 'https://hooks.example.com'`+value+`)`, []any{hook, s.realm}, "webhook.created "+hook)
	s.do(`INSERT INTO webhook_subscribers (id, name, webhook_id) VALUES ($1, 'nothing.at.all', $2)`, []any{ferriskey.NewID(), hook})
	s.do(`UPDATE webhooks SET name = 'hook' WHERE id = $1`, []any{hook}, "webhook.updated "+hook)
	s.do(`DELETE FROM webhooks WHERE id = $1`, []any{hook}, "webhook.deleted "+hook)
}

// newer makes the events of tables and columns that only later releases have.
func (s *releaseStory) newer(client string) {
	if s.columns["clients maintenance_enabled"] {
		s.do(`UPDATE clients SET maintenance_enabled = true WHERE id = $1`, []any{client}, "client.maintenance.enabled "+client)
		s.do(`UPDATE clients SET maintenance_enabled = false WHERE id = $1`, []any{client}, "client.maintenance.disabled "+client)
	}
	if s.columns["clients backchannel_logout_uri"] {
		s.do(`UPDATE clients SET backchannel_logout_uri = 'https://app.example.com/logout' WHERE id = $1`, []any{client}, "client.updated "+client)
	}
	if s.columns["device_auth_sessions status"] {
		for i, status := range []string{"denied", "expired"} {
			code := ferriskey.NewID()
			s.do(`INSERT INTO device_auth_sessions (device_code, user_code, client_id, realm_id, expires_at) VALUES ($1, $2, $3, $4, now())`,
				[]any{code, fmt.Sprintf("ABCD-%04d", i), client, s.realm}, "auth.device_flow.initiated "+client)
			s.do(`UPDATE device_auth_sessions SET status = $2 WHERE device_code = $1`, []any{code, status}, "auth.device_flow."+status+" "+client)
		}
	}
	if s.columns["client_web_origins value"] {
		origin := ferriskey.NewID()
		s.do(`INSERT INTO client_web_origins (id, client_id, value, created_at, updated_at) VALUES ($1, $2, '+', now(), now())`, []any{origin, client}, "web_origin.created "+origin)
		s.do(`DELETE FROM client_web_origins WHERE id = $1`, []any{origin}, "web_origin.deleted "+origin)
	}
}
