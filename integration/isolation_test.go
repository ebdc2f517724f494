package integration_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// history makes random changes in realms and accounts for each realm by itself.
type history struct {
	w        *world
	random   *rand.Rand
	realms   []ferriskey.Realm
	users    map[string][]string
	roles    map[string][]string
	expected map[string]*account // by realm
}

// one makes a change in a random realm. Names are the same in all realms, so that only keys distinguish them.
func (h *history) one(n int) error {
	realm := h.realms[h.random.IntN(len(h.realms))]
	id, ctx := realm.ID, h.w.t.Context()
	expected := func(event, resource string) { h.expected[id].add(expect(event, resource, id)) }
	pick := func(all []string) string { return all[h.random.IntN(len(all))] }
	switch choice := h.random.IntN(8); {
	case choice < 2 || len(h.users[id]) < 2:
		user, err := h.w.iam.CreateUser(ctx, id, ferriskey.User{Username: fmt.Sprint("user-", n), Email: email(n), Enabled: true})
		h.users[id] = append(h.users[id], user)
		expected("user.created", user)
		return err
	case choice < 3 || len(h.roles[id]) == 0:
		role, err := h.w.iam.CreateRole(ctx, id, fmt.Sprint("role-", n), ferriskey.ViewUsers)
		h.roles[id] = append(h.roles[id], role)
		expected("role.created", role)
		return err
	case choice < 4:
		user := pick(h.users[id])
		expected("user.updated", user)
		return h.w.iam.UpdateUser(ctx, user, ferriskey.User{Firstname: fmt.Sprint("name-", n), Email: email(n), Enabled: true})
	case choice < 5:
		user, role := pick(h.users[id]), pick(h.roles[id])
		if value[bool](h.w.t, h.w.db, `SELECT EXISTS (SELECT FROM user_role WHERE user_id = $1 AND role_id = $2)`, user, role) {
			expected("user.role.unassigned", user)
			return h.w.iam.UnassignRole(ctx, id, user, role)
		}
		expected("user.role.assigned", user)
		return h.w.iam.AssignRole(ctx, id, user, role)
	case choice < 6:
		user := h.users[id][0]
		h.users[id] = h.users[id][1:]
		expected("user.deleted", user)
		return h.w.iam.DeleteUser(ctx, id, user)
	case choice < 7:
		uri, err := h.w.iam.AddRedirectURI(ctx, realm.Console, fmt.Sprint("https://app.example.com/", n))
		expected("redirect_uri.created", uri)
		return err
	default:
		expected("realm.settings.updated", realm.SettingsID)
		return h.w.iam.UpdateRealmSettings(ctx, id, map[string]any{"magic_link_ttl_minutes": n + 16})
	}
}

// Whatever happens in two realms with the same names in them, each realm's webhooks hear of their own realm alone, be they
// the IAM's or configured ones, by key or by name.
func TestIsolation_RandomHistoriesOfTwoRealms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	globex, err := w.iam.CreateRealm(t.Context(), "globex", "Globex")
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := &history{
		w: w, random: rand.New(rand.NewPCG(seed, seed)), realms: []ferriskey.Realm{w.acme, globex},
		users: map[string][]string{}, roles: map[string][]string{}, expected: map[string]*account{w.acme.ID: {}, globex.ID: {}},
	}
	events := append([]string{"user.email_verified"}, ferriskey.Documented...)
	_, acmeSecret := w.subscribeIn(w.acme, "/acme", events...)
	_, globexSecret := w.subscribeIn(globex, "/globex", events...)
	cfg := w.config().webhook(w.hook, "/acme-by-key", map[string]any{"tenant": w.acme.ID}).
		webhook(w.hook, "/globex-by-name", map[string]any{"tenant": "globex"}).webhook(w.hook, "/all")
	cfg.secrets = append(cfg.secrets, acmeSecret, globexSecret)
	p := start(t, cfg)
	for n := range 300 {
		if n == 150 { // the subscriptions are the same ones after a crash
			p.kill()
			p = start(t, cfg)
		}
		if err := h.one(n); err != nil {
			t.Fatal(err)
		}
	}
	w.caughtUp()
	h.expected[w.acme.ID].arrives(t, w.hook, "/acme")
	h.expected[w.acme.ID].arrives(t, w.hook, "/acme-by-key")
	h.expected[globex.ID].arrives(t, w.hook, "/globex")
	h.expected[globex.ID].arrives(t, w.hook, "/globex-by-name")
	s := w.hook.Snapshot()
	all := arrived(&s, "/all")
	if want := len(h.expected[w.acme.ID].expected) + len(h.expected[globex.ID].expected) + 1; len(all) != want {
		t.Errorf("%d events arrived in all, not %d", len(all), want)
	}
	p.stop()
	w.audit()
}

// A realm that is named after another one's key hears nothing of that one's events.
func TestIsolation_NameThatIsAnothersKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trap, err := w.iam.CreateRealm(t.Context(), w.acme.ID, "named after acme's key")
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.config().webhook(w.hook, "/acme", map[string]any{"tenant": w.acme.ID}))
	var a account
	if _, err := w.iam.CreateUser(t.Context(), trap.ID, ferriskey.User{Username: "mallory", Enabled: true}); err != nil {
		t.Fatal(err)
	}
	w.createUser(&a, 1)
	w.caughtUp()
	a.arrives(t, w.hook, "/acme")
}
