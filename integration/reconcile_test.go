package integration_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
	"github.com/iam-relay/iam-relay/integration/receiver"
)

// lose ends the session that reads from the slot, and does something to the slot while it is free. A slot that is still being
// created is left alone: it has no position yet.
func (w *world) lose(sql string) {
	w.t.Helper()
	eventually(w.t, "the slot is lost", func() (bool, error) {
		if _, err := w.db.Exec(w.t.Context(), `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn IS NOT NULL`, w.name); err != nil {
			return false, err
		}
		_, err := w.db.Exec(w.t.Context(), sql, w.name)
		return err == nil, err
	})
}

const dropSlot = `SELECT pg_drop_replication_slot($1)`

// reconciledOf returns, of what has arrived, what is marked as reconciled, and what is not.
func reconciledOf(all []receiver.Delivery) (reconciled, streamed []receiver.Delivery) {
	for _, d := range all {
		if d.Header.Get("X-Iam-Relay-Reconciled") == "true" {
			reconciled = append(reconciled, d)
		} else {
			streamed = append(streamed, d)
		}
	}
	return reconciled, streamed
}

// gap makes one change of each kind, and some that undo each other, and accounts for what a comparison finds of them.
func (w *world) gap(a *account, updated, deleted string) {
	w.t.Helper()
	w.createUser(a, 100)
	w.exec(`UPDATE users SET firstname = 'One' WHERE id = $1`, updated)
	w.exec(`UPDATE users SET firstname = 'Two' WHERE id = $1`, updated)
	a.add(expect("user.updated", updated, w.acme.ID))
	w.exec(`DELETE FROM users WHERE id = $1`, deleted)
	a.add(expect("user.deleted", deleted, w.acme.ID))
	var nothing account
	passing := w.createUser(&nothing, 101)
	w.exec(`DELETE FROM users WHERE id = $1`, passing)
	role, err := w.iam.CreateRole(w.t.Context(), w.acme.ID, "operator", 1)
	if err != nil {
		w.t.Fatal(err)
	}
	a.add(expect("role.created", role, w.acme.ID))
}

// Whatever happens to the slot while no relay runs, the next one emits what was committed meanwhile: the net differences, once,
// marked, and nothing of what has not changed.
func TestReconcile_SlotIsLostWhileNoRelayRuns(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"dropped":   dropSlot,
		"advanced":  `SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())`,
		"recreated": `WITH dropped AS MATERIALIZED (SELECT pg_drop_replication_slot($1)) SELECT lsn FROM dropped, LATERAL pg_create_logical_replication_slot($1, 'pgoutput')`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config().webhook(w.hook, "/all")
			var a account
			updated, deleted := w.createUser(&account{}, 1), w.createUser(&account{}, 2)
			w.createUser(&account{}, 3)
			start(t, cfg).stop()
			w.gap(&a, updated, deleted)
			w.lose(sql)
			p := start(t, cfg)
			got := a.arrives(t, w.hook, "/all")
			if reconciled, _ := reconciledOf(got); len(reconciled) != a.len() {
				t.Errorf("%d of %d events are marked", len(reconciled), a.len())
			}
			w.createUser(&a, 4)
			_, streamed := reconciledOf(a.arrives(t, w.hook, "/all"))
			if len(streamed) != 1 {
				t.Errorf("%d streamed events are not marked, want 1", len(streamed))
			}
			p.stop()
			w.audit()
			w.sameAsStored(w.db, got)
		})
	}
}

// A slot that is dropped under a relay that reads from it is replaced, under load.
func TestReconcile_SlotIsDroppedUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	p := start(t, cfg)
	l := w.begin(2, time.Millisecond)
	for range 3 {
		seen := l.len()
		eventually(t, "the load goes on", func() (bool, error) { return l.len() > seen+100, nil })
		w.lose(dropSlot)
		w.until("a new slot", `SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = $1 AND confirmed_flush_lsn IS NOT NULL`, w.name)
	}
	l.end()
	w.caughtUp()
	p.stop()
	w.audit()
	w.replicates("/all")
}

// replicates checks that a receiver that applies the events in their order has the users that the IAM has, and that all events arrived. A
// reconciliation emits net differences only, so that is all that can be asked for.
func (w *world) replicates(path string) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), w.inOutbox(`SELECT webhook_id, name, resource, convert_from(body, 'UTF8')::json->'data'->>'firstname' FROM relay.event
		WHERE name IN ('user.created', 'user.updated', 'user.deleted')
		AND convert_from(body, 'UTF8')::json->'data'->>'username' LIKE 'load-%' ORDER BY id`))
	if err != nil {
		w.t.Fatal(err)
	}
	heard, ids := map[string]string{}, map[string]bool{}
	var id, name, resource string
	var firstname *string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name, &resource, &firstname}, func() error {
		ids[id] = true
		if _, known := heard[resource]; known == (name == "user.created") {
			w.t.Errorf("%s of user %s, who is known: %t", name, resource, known)
		}
		if delete(heard, resource); name != "user.deleted" && firstname != nil {
			heard[resource] = *firstname
		}
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
	rows, err = w.db.Query(w.t.Context(), `SELECT id::text, coalesce(firstname, '') FROM users WHERE username LIKE 'load-%'`)
	if err != nil {
		w.t.Fatal(err)
	}
	there := map[string]string{}
	var first string
	if _, err := pgx.ForEachRow(rows, []any{&resource, &first}, func() error { there[resource] = first; return nil }); err != nil {
		w.t.Fatal(err)
	}
	if diff := cmp.Diff(there, heard); diff != "" {
		w.t.Errorf("the users and what the events make of them (-users +events):\n%s", diff)
	}
	s := w.hook.Snapshot()
	got := arrived(&s, path)
	for i := range got {
		delete(ids, got[i].ID)
	}
	if len(ids) > 0 {
		w.t.Errorf("%d events have not arrived", len(ids))
	}
}

// What was taken out of the publication, created again or rewritten while the relay reads is noticed, compared and emitted.
func TestReconcile_CatalogueIsAltered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all"))
	var a account
	user := w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")

	w.exec(`ALTER PUBLICATION ` + w.name + ` DROP TABLE users`)
	w.createUser(&a, 2)
	got := a.arrives(t, w.hook, "/all")
	if reconciled, _ := reconciledOf(got); len(reconciled) != 1 {
		t.Errorf("%d events are marked, want 1", len(reconciled))
	}

	w.exec(`ALTER TABLE users ALTER COLUMN firstname TYPE text USING upper(firstname)`)
	a.add(expect("user.updated", user, w.acme.ID))
	a.add(expect("user.updated", value[string](t, w.db, `SELECT id::text FROM users WHERE username = 'user-2'`), w.acme.ID))
	a.arrives(t, w.hook, "/all")

	w.exec(`DROP PUBLICATION ` + w.name)
	w.createUser(&a, 3)
	a.arrives(t, w.hook, "/all")
	w.createUser(&a, 4)
	a.arrives(t, w.hook, "/all")
	p.stop()
	w.audit()
}

// Where an operator is to decide, the relay ends; a dry run shows what would be emitted, and changes nothing; then it is emitted.
func TestReconcile_ByCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all").set("source.reconcile", "stop")
	var a account
	updated, deleted := w.createUser(&account{}, 1), w.createUser(&account{}, 2)
	start(t, cfg).stop()
	w.gap(&a, updated, deleted)
	w.lose(dropSlot)
	w.refuses(cfg, "run iam-relay reconcile --dry-run to see the missed changes, and iam-relay reconcile to emit them")
	before := w.slot()
	said := w.command(cfg, "reconcile", "--dry-run")
	for _, want := range []string{"4 events would be emitted", "users  1 inserted  1 updated  1 deleted", "user.deleted  1", "user.deleted  " + deleted} {
		if !strings.Contains(said, want) {
			t.Errorf("the dry run does not say %q:\n%s", want, said)
		}
	}
	w.leavesAlone(before)
	if n := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event`)); n != 0 {
		t.Errorf("the dry run has made %d events", n)
	}
	if said := w.command(cfg, "reconcile"); !strings.Contains(said, "4 events emitted") {
		t.Errorf("it says:\n%s", said)
	}
	p := start(t, cfg)
	a.arrives(t, w.hook, "/all")

	// The relay that runs compares as well, and finds nothing.
	var last struct {
		State  string
		Rows   int
		Result struct{ Events map[string]int }
	}
	lines := strings.Split(strings.TrimSpace(w.command(cfg, "reconcile", "--json")), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.State != "done" || last.Rows == 0 || len(last.Result.Events) != 0 {
		t.Errorf("with nothing to reconcile it says (%v):\n%s", err, lines)
	}
	if said := w.command(cfg, "reconcile", "--dry-run"); !strings.Contains(said, "nothing differs") {
		t.Errorf("the second dry run says:\n%s", said)
	}
	w.createUser(&a, 5)
	a.arrives(t, w.hook, "/all")
	p.stop()
	w.audit()
}

// Another server is refused instead of emitting that every row was deleted.
func TestReconcile_RefusesAnotherIAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all").set("outbox.url", w.url)
	w.createUser(&account{}, 1)
	start(t, cfg).stop()
	other := inhabit(t, newServer(t).URL("postgres"))
	cfg.set("source.url", other.url)
	p := launch(t, cfg)
	if said := p.fails(); !strings.Contains(said, "it looks like another IAM or an empty one") {
		t.Errorf("it says: %s", said)
	}
	if n := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event`)); n != 0 {
		t.Errorf("%d events were made", n)
	}
}

// A database that was dumped and restored into another server goes on there.
func TestReconcile_DatabaseIsRestoredElsewhere(t *testing.T) {
	t.Parallel()
	c := newServer(t)
	w := inhabit(t, c.URL("postgres"))
	outbox := newWorld(t) // its database has the outbox
	cfg := w.config().webhook(w.hook, "/all").set("outbox.url", outbox.url)
	var a account
	updated, deleted := w.createUser(&account{}, 1), w.createUser(&account{}, 2)
	start(t, cfg).stop()
	w.gap(&a, updated, deleted)
	dump := filepath.Join(t.TempDir(), "dump.sql")
	if out, err := exec.CommandContext(t.Context(), "pg_dump", "-f", dump, "--no-publications", w.url).CombinedOutput(); err != nil {
		t.Skipf("no pg_dump that works here: %v %s", err, out)
	}
	other := newServer(t)
	if out, err := exec.CommandContext(t.Context(), "psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump, other.URL("postgres")).CombinedOutput(); err != nil {
		t.Fatalf("restore: %v %s", err, out)
	}
	restored := *w
	restored.url, restored.db = other.URL("postgres"), connect(t, other.URL("postgres"))
	restored.iam = ferriskey.New(restored.db)
	p := start(t, cfg.set("source.url", restored.url))
	a.arrives(t, w.hook, "/all")
	restored.createUser(&a, 9)
	a.arrives(t, w.hook, "/all")
	p.stop()
	restored.auditIn(outbox.db)
}

// command runs the program for this configuration and returns what it prints.
func (w *world) command(cfg *config, arguments ...string) string {
	w.t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(within(w.t), binary, append(arguments, "--config", cfg.write(w.t))...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		w.t.Fatalf("%v: %v\n%s%s", arguments, err, out.String(), errs.String())
	}
	return out.String()
}
