package integration_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// heavyRole makes a role with a large description and gives it to users, in one transaction: few small rows, of which each makes
// an event with the whole role in it.
func (w *world) heavyRole(bytes, users int) (role string) {
	w.t.Helper()
	return value[string](w.t, w.db, `WITH role AS (
			INSERT INTO roles (id, name, realm_id, description) VALUES (gen_random_uuid(), 'heavy', $1, repeat('x', $2::int)) RETURNING id
		), given AS (
			INSERT INTO user_role (user_id, role_id) SELECT u.id, role.id FROM role, users u WHERE u.username LIKE 'many%' ORDER BY u.username LIMIT $3
		) SELECT id::text FROM role`, w.acme.ID, bytes, users)
}

// neighbour is a realm whose webhook must hear everything at once, whatever happens in the other one.
func (w *world) neighbour() ferriskey.Realm {
	w.t.Helper()
	realm, err := w.iam.CreateRealm(w.t.Context(), "neighbour", "Neighbour")
	if err != nil {
		w.t.Fatal(err)
	}
	return realm
}

// Small rows that all show one large parent make bodies of more than a gigabyte in one transaction. It is ingested in pieces,
// also where the transaction itself is small, and those of others go on.
func TestBytes_SmallRowsMakeLargeBodies(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]string{"in memory": "4MiB", "spilled": "64KiB"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			n := strength(600, 300, 60)
			w.exec(insertMany, w.acme.ID, "many", n)
			other := w.neighbour()
			p := start(t, w.config().webhook(w.hook, "/neighbour", map[string]any{"tenant": other.ID}).set("source.memory_limit", limit))
			role := w.heavyRole(2_000_000, n)
			committed := time.Now()
			user, err := w.iam.CreateUser(t.Context(), other.ID, ferriskey.User{Username: "late", Email: "late@example.org"})
			if err != nil {
				t.Fatal(err)
			}
			var a account
			a.add(expect("user.created", user, other.ID))
			a.arrives(t, w.hook, "/neighbour")
			t.Logf("the neighbour's event, committed behind %d bodies of 2 MB, arrived %s after them", n, time.Since(committed).Round(time.Millisecond))
			if got := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event WHERE name = 'user.role.assigned' AND length(body) > 2000000
				AND position(convert_to($1, 'UTF8') IN body) > 0`), role); got != n {
				t.Errorf("%d events have their whole body, want %d", got, n)
			}
			p.fits(largest)
			p.stop()
			w.audit()
		})
	}
}

// A body larger than any may be is not made. Its event is recorded, its delivery dead, and the operator warned once.
func TestBytes_BodyLargerThanAnyMayBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(insertMany, w.acme.ID, "many", 50)
	cfg := w.config().webhook(w.hook, "/all", map[string]any{"tenant": w.acme.ID}).set("outbox.max_body", "1MiB")
	p := start(t, cfg)
	w.heavyRole(2_000_000, 50)
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	w.until("what cannot be sent is dead", `SELECT count(*) = 51 FROM relay.retry p JOIN relay.event e ON e.id = p.event
		WHERE e.body IS NULL AND e.name IN ('role.created', 'user.role.assigned') AND p.class = 'payload_too_large' AND p.due = 'infinity'`)
	p.metric("iam_relay_events_without_body_total 51")
	const said = "which would be larger than outbox.max_body"
	p.waitFor(within(t), said)
	p.stop()
	printed, _ := p.log.read()
	if n := strings.Count(printed, said); n != 1 {
		t.Errorf("that bodies are too large is logged %d times", n)
	}
	w.audit()
}

// What the outbox refuses again and again, although it is there, is neither idle nor well.
func TestStuck_SameTransactionFailsAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all"))
	w.exec(w.inOutbox(`CREATE FUNCTION relay.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = 'serialization_failure'; END $$`))
	w.exec(w.inOutbox(`CREATE TRIGGER refuse BEFORE INSERT ON relay.mirror FOR EACH ROW EXECUTE FUNCTION relay.refuse()`))
	var a account
	w.createUser(&a, 1)
	p.metric(`iam_relay_state{state="stuck"} 1`)
	p.waitFor(within(t), "ingestion keeps failing at the same position")
	eventually(t, "readiness names the failure", func() (bool, error) {
		_, report, err := p.get("/readyz")
		return strings.Contains(report, "ingestion has failed") && strings.Contains(report, "not now"), err
	})
	w.exec(w.inOutbox(`DROP TRIGGER refuse ON relay.mirror`))
	a.arrives(t, w.hook, "/all")
	p.ready(true)
	p.stop()
	w.audit()
}

// Large rows are copied, changed without their large values being written again, moved to other keys, compared and truncated, a few
// at a time.
func TestBytes_LargeRows(t *testing.T) {
	t.Parallel()
	t.Run("of a megabyte", func(t *testing.T) {
		t.Parallel()
		largeRows(t, strength(600, 40, 20), 1_000_000, largest)
	})
	t.Run("of many megabytes", func(t *testing.T) {
		t.Parallel()
		largeRows(t, strength(80, 3, 2), 14_000_000, 4*largest)
	})
}

// largeRows takes n rows of the given size through everything that reads or writes many of them; limit is in kB.
func largeRows(t *testing.T, n, bytes, limit int) {
	t.Helper()
	w := newWorld(t)
	w.exec(`ALTER TABLE roles ALTER COLUMN description SET STORAGE EXTERNAL`)
	w.exec(`INSERT INTO roles (id, name, realm_id, description) SELECT gen_random_uuid(), 'large' || n, $1, repeat('x', $3::int) FROM generate_series(1, $2::int) AS n`,
		w.acme.ID, n, bytes)
	cfg := w.config()
	read := func(p *process, message string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), strength(20*time.Minute, 2*patience, patience))
		defer cancel()
		p.waitFor(ctx, message)
	}
	p := launch(t, cfg)
	read(p, "streaming the WAL")
	fits := func(what string) {
		t.Helper()
		t.Log(what)
		p.fits(limit)
	}
	events := func(name string, of int) {
		t.Helper()
		w.until("the events are there", `SELECT count(*) = $2 FROM relay.event WHERE name = $1 AND length(body) > $3`, name, of, bytes)
	}
	fits("the first copy")
	w.exec(`UPDATE roles SET require_mfa = NOT require_mfa`)
	events("role.updated", n)
	fits("changes that leave the large values alone")
	w.exec(`UPDATE roles SET id = gen_random_uuid() WHERE name LIKE 'large%'`)
	events("role.created", n)
	events("role.deleted", n)
	fits("changes of the keys")
	p.stop()
	w.exec(`UPDATE roles SET require_mfa = NOT require_mfa`)
	w.lose(dropSlot)
	p = launch(t, cfg)
	read(p, "reconciliation finished")
	events("role.updated", 2*n)
	fits("the comparison")
	w.exec(`TRUNCATE roles CASCADE`)
	events("role.deleted", 2*n)
	fits("TRUNCATE")
	p.stop()
	w.audit()
}
