package integration_test

import (
	"slices"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// A webhook that belongs to another realm than before gets nothing that the former realm's was still owed, however it was moved:
// by a command, in the configuration, by the IAM's rows, deleted and made again under the same key, or because another realm took
// the name by which it calls its own.
func TestTenantMove_NothingOfTheFormerTenantIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	globex, err := w.iam.CreateRealm(t.Context(), "globex", "Globex")
	if err != nil {
		t.Fatal(err)
	}
	users := []string{"user.created"}
	configure := func(moved, narrowed string) *config {
		return w.config().set("delivery.schedule", slices.Repeat([]string{"300ms"}, 200)).set("delivery.pause_after", 10000).
			webhook(w.hook, "/control", map[string]any{"events": users}).
			webhook(w.hook, "/config", map[string]any{"events": users, "tenant": moved}).
			webhook(w.hook, "/narrow", map[string]any{"events": users, "tenant": narrowed}).
			webhook(w.hook, "/named", map[string]any{"events": users, "tenant": "acme"})
	}
	moved, _ := w.subscribe("/iam", users...)
	again, secret := w.subscribe("/again", users...)
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Tenant == w.acme.ID {
			return receiver.Response{Status: 500}
		}
		return receiver.Response{}
	})
	p := start(t, configure(w.acme.ID, "*"))
	p.command("webhooks", "add", "--name", "own", "--url", w.hook.URL("/own"), "--event", "user.created", "--tenant", w.acme.ID, "--unsigned")
	paths := []string{"/control", "/config", "/narrow", "/named", "/iam", "/again", "/own"}
	var none account
	eventually(t, "each webhook is owed an event of the first realm", func() (bool, error) {
		w.createUser(&none, none.len())
		return value[int](t, w.db, w.inOutbox(`SELECT count(DISTINCT webhook) FROM relay.retry`)) == len(paths), nil
	})

	p.command("webhooks", "update", "own", "--tenant", globex.ID)
	w.exec(`UPDATE webhooks SET realm_id = $2 WHERE id = $1`, moved, globex.ID)
	w.exec(`DELETE FROM webhooks WHERE id = $1`, again)
	w.exec(`INSERT INTO webhooks (id, realm_id, endpoint, name, headers, secret) VALUES ($1, $2, $3, 'again', '{}', $4)`, again, globex.ID, w.hook.URL("/again"), secret)
	w.exec(`INSERT INTO webhook_subscribers (id, name, webhook_id) VALUES (gen_random_uuid(), 'user.created', $1)`, again)
	w.exec(`UPDATE realms SET name = 'acme-formerly' WHERE id = $1`, w.acme.ID)
	w.exec(`UPDATE realms SET name = 'acme' WHERE id = $1`, globex.ID)
	early := w.caughtUpReading()
	p.stop()
	p = start(t, configure(globex.ID, globex.ID))
	var second, narrowed account
	user, err := w.iam.CreateUser(t.Context(), globex.ID, ferriskey.User{Username: "first of globex", Enabled: true})
	if err != nil {
		t.Fatal(err)
	}
	second.add(expect("user.created", user, globex.ID))
	narrowed.add(expect("user.created", early, w.iam.Master.ID), expect("user.created", user, globex.ID))
	for _, path := range paths {
		switch path {
		case "/control":
		case "/narrow": // which heard all realms before
			narrowed.arrives(t, w.hook, path)
		default:
			second.arrives(t, w.hook, path)
		}
	}
	w.until("what is left of the moved webhooks is refused", `SELECT count(*) > 0 FROM relay.attempt WHERE class = 'wrong_tenant'`)
	attempts := func(s *receiver.Snapshot) map[string]int {
		n := map[string]int{}
		for i := range s.Deliveries {
			if s.Deliveries[i].Tenant == w.acme.ID {
				n[s.Deliveries[i].Path]++
			}
		}
		return n
	}
	s := w.hook.Snapshot()
	before := attempts(&s)
	s, err = w.hook.Wait(within(t), func(s *receiver.Snapshot) bool { return attempts(s)["/control"] >= before["/control"]+15 })
	if err != nil {
		t.Fatal(err)
	}
	for path, n := range attempts(&s) {
		if path != "/control" && n > before[path] {
			t.Errorf("%s was sent %d events of the realm that it does not belong to any more", path, n-before[path])
		}
	}
	p.command("replay", "--webhook", "own", "--missed", "--wait")
	second.arrives(t, w.hook, "/own")
}

// caughtUpReading waits until everything committed so far is in the outbox. It returns the user of the master realm that shows it.
func (w *world) caughtUpReading() string {
	w.t.Helper()
	user := ferriskey.NewID()
	w.exec(`INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES ($1::uuid, $2, $1::text, now(), now())`, user, w.iam.Master.ID)
	w.until("the relay has read everything", `SELECT count(*) = 1 FROM relay.event WHERE resource = $1`, user)
	return user
}
