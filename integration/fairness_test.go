package integration_test

import (
	"fmt"
	"testing"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// roles makes roles whose events are of about so many bytes, and accounts for them.
func (w *world) createRoles(a *account, realm string, n, bytes int) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `INSERT INTO roles (id, realm_id, name, description)
		SELECT gen_random_uuid(), $1, 'role-' || gen_random_uuid(), repeat('x', $3) FROM generate_series(1, $2) RETURNING id::text`, realm, n, bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			w.t.Fatal(err)
		}
		if a != nil {
			a.add(expect("role.created", id, realm))
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
}

// Events that are larger than the relay sends are dead, and nothing else: they say nothing about the endpoint, which gets all
// others without a pause.
func TestFairness_OversizedEventsPauseNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := w.iam.CreateRealm(t.Context(), "other", "Other")
	if err != nil {
		t.Fatal(err)
	}
	start(t, w.config().webhook(w.hook, "/healthy").set("delivery.max_payload", "4KiB").set("delivery.pause", "1h").set("delivery.pause_max", "1h"))
	var a account
	for i := range 2 {
		w.createRoles(nil, other.ID, 20, 5000)
		w.createUser(&a, i)
	}
	a.arrives(t, w.hook, "/healthy")
	w.until("the oversized ones are dead", `SELECT count(*) = 40 FROM relay.retry WHERE due = 'infinity' AND class = 'payload_too_large'`)
	w.until("the endpoint is not paused", `SELECT pauses = 0 AND paused_until IS NULL AND failing_since IS NULL FROM relay.webhook`)
}

// Events that are never sent, because their bodies are too large to be kept or to be sent, are dead also where the endpoint reads them
// from the event log, as it does those of a large transaction.
func TestFairness_OversizedEventsFromTheEventLog(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"outbox.max_body", "delivery.max_payload"} {
		t.Run(setting, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			start(t, w.config().webhook(w.hook, "/healthy").set(setting, "1MiB"))
			w.createRoles(nil, w.acme.ID, 8, 1_100_000)
			var a account
			w.createUser(&a, 0)
			a.arrives(t, w.hook, "/healthy")
			w.until("the oversized ones are dead", `SELECT count(*) = 8 FROM relay.retry WHERE due = 'infinity' AND class = 'payload_too_large'`)
			if epoch := w.epoch(); epoch != 1 {
				t.Errorf("the relay has started %d times", epoch)
			}
		})
	}
}

// Webhooks of one realm that never answer leave senders to another realm, whose events arrive meanwhile. There are far fewer
// senders than webhooks that hang, and no request times out before the test has ended.
func TestFairness_HangingWebhooksOfAnotherRealm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := w.iam.CreateRealm(t.Context(), "other", "Other")
	if err != nil {
		t.Fatal(err)
	}
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response { return receiver.Response{Hang: d.Path != "/healthy"} })
	cfg := w.config().set("delivery.senders", 64).set("delivery.timeout", "2m")
	_, secret := w.subscribeIn(w.acme, "/healthy", "user.created")
	cfg.secrets = append(cfg.secrets, secret)
	for i := range strength(200, 200, 100) {
		_, secret := w.subscribeIn(other, fmt.Sprintf("/hangs/%d", i), "role.created")
		cfg.secrets = append(cfg.secrets, secret)
	}
	p := start(t, cfg)
	var a account
	w.createUser(&a, 0)
	a.arrives(t, w.hook, "/healthy")
	w.createRoles(nil, other.ID, 20, 10)
	if _, err := w.hook.Wait(within(t), func(s *receiver.Snapshot) bool { return s.Requests > 20 }); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		w.createUser(&a, 1+i)
		a.arrives(t, w.hook, "/healthy")
		if t.Failed() {
			break
		}
	}
	p.kill() // what hangs is not waited for
}

// Webhooks that are far behind large events share the memory and the reads: the relay stays small and keeps the leadership, and all
// of them catch up.
func TestFairness_ManyWebhooksBehindLargeEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().set("delivery.pause", "1s").set("delivery.pause_max", "1s").set("delivery.pause_after", 1)
	hooks, events := strength(30, 30, 12), 40
	for i := range hooks {
		_, secret := w.subscribe(fmt.Sprintf("/behind/%d", i), "role.created")
		cfg.secrets = append(cfg.secrets, secret)
	}
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{Status: 503} })
	p := start(t, cfg)
	var a account
	w.createRoles(&a, w.acme.ID, events, 200_000)
	w.until("all are paused", `SELECT count(*) = $1 FROM relay.webhook WHERE pauses > 0 AND cursor IS NOT NULL`, hooks)
	before := w.epoch()
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	w.exec(w.inOutbox(`UPDATE relay.retry SET due = now()`))
	if _, err := w.hook.Wait(within(t), func(s *receiver.Snapshot) bool { return s.Distinct >= hooks*events }); err != nil {
		t.Fatal(err)
	}
	if after := w.epoch(); after != before {
		t.Errorf("epoch %d follows epoch %d", after, before)
	}
	p.fits(150 << 10)
	p.stop()
}
