package integration_test

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// behind is whether webhooks read the event log by a cursor of their own.
const behind = `SELECT count(*) > 0 FROM relay.webhook WHERE cursor IS NOT NULL`

// createUsers makes users in transactions of their own, faster than one could through the IAM's own statements.
func (w *world) createUsers(a *account, from, n int) {
	w.t.Helper()
	for i := range n {
		id := value[string](w.t, w.db, `INSERT INTO users (id, realm_id, username, email, created_at, updated_at)
			VALUES (gen_random_uuid(), $1, $2, $2, now(), now()) RETURNING id::text`, w.acme.ID, email(from+i))
		a.add(expect("user.created", id, w.acme.ID))
	}
}

// An endpoint that cannot keep up reads the event log by its cursor, beside one that can, and has everything once in the end.
func TestBehind_SlowEndpointCatchesUpFromTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/slow").webhook(w.hook, "/quick").set("delivery.queue", 10).set("delivery.in_flight", 3)
	w.hook.Respond(onPath("/slow", receiver.Response{Delay: 500 * time.Millisecond})) // slower than the events come on any machine
	start(t, cfg)
	var a account
	w.createUsers(&a, 0, 300)
	a.arrives(t, w.hook, "/quick")
	w.until("the slow endpoint is behind", behind)
	w.hook.Respond(onPath("/slow", receiver.Response{Delay: 2 * time.Millisecond}))
	got := a.arrives(t, w.hook, "/slow")
	if n := w.hook.Snapshot().Duplicates; n > 0 {
		t.Errorf("%d events came twice without a crash", n)
	}
	w.sameAsStored(w.db, got)
	w.until("nobody is behind any more", `SELECT count(*) = 0 FROM relay.webhook WHERE cursor IS NOT NULL`)
	w.createUsers(&a, 2000, 20) // live again
	a.arrives(t, w.hook, "/slow")
	w.until("everything is done", `SELECT delivered = last_event FROM relay.watermark, relay.position`)
	if n := w.hook.Snapshot().Duplicates; n > 0 {
		t.Errorf("%d events came twice without a crash", n)
	}
}

// A relay that is stopped, or killed, while an endpoint is behind goes on from the cursor: what was done is not done again,
// but for the little that was not recorded yet. The endpoint takes some events and then none, so that it is surely behind
// when the relay ends, however slowly the events come.
func TestBehind_RestartResumesAtTheCursor(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*process){"stopped": (*process).stop, "killed": (*process).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config().webhook(w.hook, "/slow").set("delivery.queue", 10).set("delivery.in_flight", 2).set("delivery.timeout", "5s")
			const taken = 100
			requests := 0
			w.hook.Respond(func(*receiver.Delivery) receiver.Response {
				requests++
				return receiver.Response{Hang: requests > taken}
			})
			p := start(t, cfg)
			var a account
			w.createUsers(&a, 0, 600)
			w.until("the endpoint is behind, with something done", `SELECT count(*) > 0 FROM relay.webhook WHERE cursor > 50`)
			end(p)
			w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
			start(t, cfg)
			a.arrives(t, w.hook, "/slow")
			s := w.hook.Snapshot()
			if name == "stopped" && s.Duplicates > 0 {
				t.Errorf("%d events came twice although the relay was stopped in order", s.Duplicates)
			}
			if s.Duplicates > taken-50 {
				t.Errorf("%d of %d events came twice: the cursor was not kept", s.Duplicates, taken)
			}
			w.audit()
		})
	}
}

// A webhook that is disabled while it reads the event log goes on from there when its owner changes it.
func TestBehind_GoneWhileReadingTheEventLogLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hook, secret := w.subscribe("/gone", "user.created")
	cfg := w.config().set("delivery.queue", 10).set("delivery.in_flight", 2)
	var owed account
	const accepted = 60
	requests := 0
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if requests++; d.Path == "/gone" && requests > accepted {
			return receiver.Response{Status: 410}
		}
		return receiver.Response{}
	})
	p := start(t, cfg)
	w.exec(`INSERT INTO users (id, realm_id, username, email, created_at, updated_at)
		SELECT gen_random_uuid(), $1, 'u' || n, 'u' || n, now(), now() FROM generate_series(1, 2000) AS n`, w.acme.ID)
	p.waitFor(within(t), "webhook disabled")
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	w.change(hook, "/back", secret, "user.created")
	rows, err := w.db.Query(t.Context(), `SELECT id::text FROM users WHERE username LIKE 'u%'`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		owed.add(expect("user.created", id, w.acme.ID))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	// Those that were answered 410 are dead; every other one arrives, before the change or after it.
	eventually(t, "each event has arrived or is dead", func() (bool, error) {
		var dead int
		err := w.db.QueryRow(t.Context(), w.inOutbox(`SELECT count(*) FROM relay.retry WHERE due = 'infinity'`)).Scan(&dead)
		return w.hook.Snapshot().Distinct+dead == owed.len(), err
	})
}

// Bodies that wait for an endpoint that hangs may fill the memory that all queues share; the others then read the event log.
func TestBehind_FullMemoryDelaysNoOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/hangs").webhook(w.hook, "/healthy").set("delivery.in_flight", 1)
	w.hook.Respond(onPath("/hangs", receiver.Response{Hang: true}))
	start(t, cfg)
	var a account
	for i := range 120 { // 100 kB each, and 8 MiB in all may wait
		id := value[string](t, w.db, `INSERT INTO roles (id, realm_id, name, description) VALUES (gen_random_uuid(), $1, $2, repeat('long ', 20000)) RETURNING id::text`,
			w.acme.ID, email(i))
		a.add(expect("role.created", id, w.acme.ID))
		a.arrives(t, w.hook, "/healthy") // so that nothing of its own waits when the memory is full
		if t.Failed() {
			return
		}
	}
}
