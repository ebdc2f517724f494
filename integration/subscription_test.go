package integration_test

import (
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// A webhook gets the events of the commits after the one that made it, and of none before.
func TestSubscription_BeginsWithTheNextCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	early, earlySecret := w.subscribe("/early", "user.created", "webhook.created")
	cfg := w.config()
	cfg.secrets = append(cfg.secrets, earlySecret)
	p := start(t, cfg)
	var before, after account
	w.createUser(&before, 1)
	hook := ferriskey.NewID()
	const secret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	w.hook.Expect("/late", secret)
	user := func(n string) string { return ferriskey.NewID()[:24] + n }
	same, next := user("00000000aaaa"), user("00000000bbbb")
	// One commit makes the webhook, its subscription and a user; the next commit another user.
	tx, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const insertUser = `INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES ($1::uuid, $2, $1::text, now(), now())`
	for _, s := range []struct {
		sql       string
		arguments []any
	}{
		{`INSERT INTO webhooks (id, realm_id, endpoint, name, headers, secret) VALUES ($1, $2, $3, 'late', '{"X-Api-Key": "value-of-a-header"}', $4)`, []any{hook, w.acme.ID, w.hook.URL("/late"), secret}},
		{`INSERT INTO webhook_subscribers (id, name, webhook_id) VALUES (gen_random_uuid(), 'user.created', $1)`, []any{hook}},
		{insertUser, []any{same, w.acme.ID}},
	} {
		if _, err := tx.Exec(t.Context(), s.sql, s.arguments...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.exec(insertUser, next, w.acme.ID)
	before.add(expect("webhook.created", hook, w.acme.ID), expect("user.created", same, w.acme.ID), expect("user.created", next, w.acme.ID))
	after.add(expect("user.created", next, w.acme.ID))
	before.arrives(t, w.hook, "/early")
	got := after.arrives(t, w.hook, "/late")
	if header := got[0].Header.Get("x-api-key"); header != "value-of-a-header" {
		t.Errorf("the webhook's own header came as %q", header)
	}
	p.stop()
	printed, _ := p.log.read()
	mustNotContain(t, printed, secret, "value-of-a-header")
	_ = early
}

// A realm that is deleted together with its webhooks still gets its realm.deleted, and everything before it, also when the
// first attempt fails after the webhook is long gone.
func TestSubscription_OutlivesItsRealmByOneEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.subscribe("/acme", "realm.deleted", "user.created")
	cfg := w.config().webhook(w.hook, "/all").set("delivery.schedule", []string{"1500ms", "1s"})
	cfg.secrets = append(cfg.secrets, secret)
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Path == "/acme" && d.Attempt == 1 {
			return receiver.Response{Status: 500}
		}
		return receiver.Response{}
	})
	p := start(t, cfg)
	var owed, rest account
	w.createUserFor(&rest, &owed, 1)
	if err := w.iam.DeleteRealm(t.Context(), w.acme); err != nil {
		t.Fatal(err)
	}
	owed.add(expect("realm.deleted", w.acme.ID, w.acme.ID))
	owed.arrives(t, w.hook, "/acme")
	w.until("no retries are left", `SELECT count(*) = 0 FROM relay.retry`)
	p.stop()
}

// What a webhook's owner changes takes effect with the change: the endpoint, the events, and its end.
func TestSubscription_ChangesTakeEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hook, secret := w.subscribe("/first", "user.created")
	cfg := w.config()
	cfg.secrets = append(cfg.secrets, secret)
	start(t, cfg)
	var first, second, third, none account
	w.createUser(&first, 1)
	first.arrives(t, w.hook, "/first")
	w.change(hook, "/second", secret, "user.created")
	w.createUser(&second, 2)
	second.arrives(t, w.hook, "/second")

	const rotated = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
	w.hook.Expect("/third", rotated)
	w.exec(`UPDATE webhooks SET secret = $2, endpoint = $3 WHERE id = $1`, hook, rotated, w.hook.URL("/third"))
	w.exec(`UPDATE webhook_subscribers SET name = 'user.deleted' WHERE webhook_id = $1`, hook)
	user := w.createUser(&none, 3)
	if err := w.iam.DeleteUser(t.Context(), w.acme.ID, user); err != nil {
		t.Fatal(err)
	}
	third.add(expect("user.deleted", user, w.acme.ID))
	third.arrives(t, w.hook, "/third")
	if err := w.iam.DeleteWebhook(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	if err := w.iam.DeleteUser(t.Context(), w.acme.ID, second.expected[0].Resource); err != nil {
		t.Fatal(err)
	}
	w.caughtUp()
	first.arrives(t, w.hook, "/first")
	second.arrives(t, w.hook, "/second")
	third.arrives(t, w.hook, "/third")
}

// caughtUp waits until everything committed so far is in the outbox, and everything in the outbox is delivered.
func (w *world) caughtUp() {
	w.t.Helper()
	user := ferriskey.NewID()
	w.exec(`INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES ($1::uuid, $2, $1::text, now(), now())`, user, w.iam.Master.ID)
	w.until("the relay has caught up", `SELECT count(*) = 1 AND (SELECT delivered = last_event FROM relay.watermark, relay.position)
		AND (SELECT count(*) = 0 FROM relay.webhook WHERE cursor IS NOT NULL) FROM relay.event WHERE resource = $1`, user)
}

// The master realm's webhooks hear of realms made and deleted, and of nothing else in other realms.
func TestSubscription_MasterHearsOfRealms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.subscribeIn(w.iam.Master, "/master", "realm.created", "realm.deleted", "realm.updated", "user.created")
	cfg := w.config()
	cfg.secrets = append(cfg.secrets, secret)
	start(t, cfg)
	var heard, unheard account
	realm, err := w.iam.CreateRealm(t.Context(), "globex", "Globex")
	if err != nil {
		t.Fatal(err)
	}
	w.createUser(&unheard, 1)
	if err := w.iam.UpdateRealm(t.Context(), realm.ID, "globex", "Globex Corporation"); err != nil {
		t.Fatal(err)
	}
	if err := w.iam.DeleteRealm(t.Context(), realm); err != nil {
		t.Fatal(err)
	}
	heard.add(expect("realm.created", realm.ID, realm.ID), expect("realm.deleted", realm.ID, realm.ID))
	w.caughtUp()
	heard.add(expect("user.created", value[string](t, w.db, `SELECT id::text FROM users WHERE realm_id = $1 ORDER BY created_at DESC LIMIT 1`, w.iam.Master.ID), w.iam.Master.ID))
	heard.arrives(t, w.hook, "/master")
}

// An event whose realm cannot be resolved is kept, counted and shown, and sent to nobody, not even to a webhook that gets
// everything.
func TestSubscription_UnresolvedRealmIsKeptAndNeverSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE user_role DROP CONSTRAINT user_role_user_id_fkey`)
	role, err := w.iam.CreateRole(t.Context(), w.acme.ID, "operator", ferriskey.ViewUsers)
	if err != nil {
		t.Fatal(err)
	}
	_, secret := w.subscribe("/acme", "user.role.assigned", "user.created")
	cfg := w.config().webhook(w.hook, "/all")
	cfg.secrets = append(cfg.secrets, secret)
	p := start(t, cfg)
	nobody := ferriskey.NewID()
	w.exec(`INSERT INTO user_role (user_id, role_id) VALUES ($1, $2)`, nobody, role)
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/acme")
	w.until("the event is kept", `SELECT count(*) = 1 FROM relay.event WHERE resource = $1 AND name = 'user.role.assigned' AND tenant IS NULL AND webhooks = '{}'`, nobody)
	p.metric("iam_relay_events_without_tenant_total 1")
	p.waitFor(within(t), "tenant of an event not found; the event is stored and delivered to nobody")
	p.waitFor(within(t), "event=user.role.assigned webhook_id=evt_")
	a.arrives(t, w.hook, "/all")
}
