package integration_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// hastily is a schedule for tests: a failed delivery is tried again soon, and often.
func hastily() []string {
	var schedule []string
	for range 60 {
		schedule = append(schedule, "30ms")
	}
	return schedule
}

// order checks that what a path accepted came in the order of the event log, taken as a whole or for each resource by itself. What
// comes again after a crash does not count: its first arrival was in order.
func (w *world) order(path string, byResource bool) {
	w.t.Helper()
	place := map[string]int64{}
	rows, err := w.db.Query(w.t.Context(), w.inOutbox(`SELECT webhook_id, id FROM relay.event`))
	if err != nil {
		w.t.Fatal(err)
	}
	for rows.Next() {
		var id string
		var n int64
		if err := rows.Scan(&id, &n); err != nil {
			w.t.Fatal(err)
		}
		place[id] = n
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	s := w.hook.Snapshot()
	last := map[string]int64{}
	for _, d := range arrived(&s, path) {
		key := ""
		if byResource {
			key = d.Resource
		}
		if place[d.ID] < last[key] {
			w.t.Errorf("%s: event %d came after event %d", path, place[d.ID], last[key])
			return
		}
		last[key] = place[d.ID]
	}
}

// badly answers a part of the requests with an error, and some late.
func badly(d *receiver.Delivery) receiver.Response {
	switch {
	case rand.IntN(8) == 0:
		return receiver.Response{Status: 503}
	case rand.IntN(8) == 0:
		return receiver.Response{Delay: time.Duration(rand.IntN(20)) * time.Millisecond}
	}
	return receiver.Response{}
}

// Events come in the order that a webhook asks for, although it refuses some of them, and although three relays deliver and
// are killed again and again.
func TestOrder_IsKeptWithFailuresAndSeveralRelays(t *testing.T) {
	t.Parallel()
	for _, relays := range []int{1, 3} {
		t.Run(fmt.Sprint(relays), func(t *testing.T) {
			t.Parallel()
			if relays == 1 {
				inFullRun(t)
			}
			w := newWorld(t)
			cfg := w.config().set("delivery.queue", 20).set("delivery.schedule", hastily()).set("delivery.pause", "100ms").set("delivery.pause_max", "200ms").
				webhook(w.hook, "/strict", map[string]any{"ordering": "strict"}).
				webhook(w.hook, "/resource", map[string]any{"ordering": "resource"}).
				webhook(w.hook, "/none")
			w.hook.Respond(badly)
			running := []*process{start(t, cfg)}
			for range relays - 1 {
				running = append(running, launch(t, cfg))
			}
			load := w.begin(3, 15*time.Millisecond)
			for kill := range 6 {
				w.arrivesMore(60)
				if relays > 1 {
					victim := kill % relays
					running[victim].kill()
					running[victim] = launch(t, cfg)
				}
			}
			load.end()
			for _, path := range []string{"/strict", "/resource", "/none"} {
				load.arrives(t, w.hook, path)
			}
			w.order("/strict", false)
			w.order("/resource", true)
			w.audit()
		})
	}
}

// What fails holds up the later events of its own resource only, and those arrive once it is dead.
func TestOrder_ResourceDelaysOnlyItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().set("delivery.schedule", []string{"50ms", "3s"}).webhook(w.hook, "/resource", map[string]any{"ordering": "resource"})
	start(t, cfg)
	var a account
	bad := w.createUser(&a, 1)
	good := w.createUser(&a, 2)
	a.arrives(t, w.hook, "/resource")
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Resource == bad && d.Attempt < 3 {
			return receiver.Response{Status: 500}
		}
		return receiver.Response{}
	})
	rename := func(user, name string) {
		w.exec(`UPDATE users SET firstname = $2 WHERE id = $1`, user, name)
		a.add(expect("user.updated", user, w.acme.ID))
	}
	for i := range 5 {
		rename(bad, fmt.Sprint("bad-", i))
		rename(good, fmt.Sprint("good-", i))
	}
	if _, err := w.hook.Wait(within(t), func(s *receiver.Snapshot) bool {
		n := 0
		for i := range s.Deliveries {
			if d := &s.Deliveries[i]; d.Resource == good && d.Status/100 == 2 {
				n++
			}
		}
		return n == 6
	}); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event WHERE resource = $1`), bad); n != 6 {
		t.Errorf("%d events of the resource", n)
	}
	a.arrives(t, w.hook, "/resource")
	w.order("/resource", true)
	w.until("no retries are left", `SELECT count(*) = 0 FROM relay.retry`)
}

// With a strict order nothing passes a delivery that was given up, until an operator skips it.
func TestOrder_StrictStopsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().set("delivery.schedule", []string{"50ms"}).webhook(w.hook, "/strict", map[string]any{"ordering": "strict"})
	var a, rest account
	bad := ""
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Resource == bad {
			return receiver.Response{Status: 500}
		}
		return receiver.Response{}
	})
	p := start(t, cfg)
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/strict")
	w.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Event == "role.created" {
			return receiver.Response{Status: 500}
		}
		return receiver.Response{}
	})
	w.exec(`INSERT INTO roles (id, realm_id, name) VALUES (gen_random_uuid(), $1, 'bad')`, w.acme.ID)
	for i := range 50 {
		user := w.createUser(&a, 10+i)
		rest.add(expect("user.created", user, w.acme.ID))
	}
	w.until("it is dead", `SELECT count(*) = 1 FROM relay.retry WHERE due = 'infinity' AND order_key = '*'`)
	w.until("nothing passes it", `SELECT cursor < last_event - 40 FROM relay.webhook, relay.position`)
	p.kill()
	p = start(t, cfg)
	w.createUserFor(&a, &rest, 100)
	w.until("nothing passes it after a restart either", `SELECT count(*) = 1 AND (SELECT count(*) FROM relay.attempt) = 3 FROM relay.retry`)
	if n := w.hook.Snapshot().Distinct; n != 1 {
		t.Errorf("%d events have arrived", n)
	}
	w.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	p.command("deliveries", "skip", "2", "--webhook", "strict")
	a.arrives(t, w.hook, "/strict")
	w.order("/strict", false)
	p.stop()
}
