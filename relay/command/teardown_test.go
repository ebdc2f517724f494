package command_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (w *world) left() string {
	w.t.Helper()
	return fmt.Sprintf("slot %t, publication %t, schema %t",
		w.exists(`SELECT FROM pg_replication_slots WHERE slot_name = $1`, w.name),
		w.exists(`SELECT FROM pg_publication WHERE pubname = $1`, w.name),
		w.exists(`SELECT FROM pg_namespace WHERE nspname = $1`, w.name))
}

func (w *world) leaves(want string) {
	w.t.Helper()
	if got := w.left(); got != want {
		w.t.Errorf("it leaves %s; want %s", got, want)
	}
}

func TestTeardown_DropsWhatTheRelayCreated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.start()
	w.run("teardown", "--yes").fails(1, "a relay is running (session PID of the outbox's server); stop every relay first")
	w.leaves("slot true, publication true, schema true")
	relay.stop()

	r := w.run("teardown")
	r.prints("would drop slot NAME\nwould drop publication NAME\nwould drop schema NAME with all events, deliveries and webhooks in it\n")
	r.fails(2, "nothing was dropped; confirm with --yes")
	w.leaves("slot true, publication true, schema true")

	w.run("teardown", "--yes").done("dropped slot NAME\ndropped publication NAME\ndropped schema NAME\n")
	w.leaves("slot false, publication false, schema false")
	w.run("teardown", "--yes").done("")

	w.start().stop() // as on the first day
}

func TestTeardown_KeepsWhatOthersUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`CREATE TABLE theirs (id int PRIMARY KEY)`)
	w.exec(`CREATE PUBLICATION ` + w.name + ` FOR TABLE theirs`)
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name)
	w.run("setup")
	w.run("teardown", "--yes").done("dropped schema NAME\nslot NAME stays: this relay did not create it\npublication NAME stays: it publishes more than the mapped tables (public.theirs)\n")
	w.leaves("slot true, publication true, schema false")
	w.exec(`CREATE SCHEMA ` + w.name + ` CREATE TABLE theirs ()`)
	w.run("teardown", "--yes").fails(1, "schema NAME is not the relay's, or role postgres cannot read it; correct outbox.schema")
}

func TestTeardown_ActiveSlot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.start().stop()
	other := w.stream()
	w.run("teardown", "--yes").fails(1, "slot NAME is in use by process PID of the server; stop the relay first")
	w.leaves("slot true, publication true, schema true")
	other()
}

func TestTeardown_PublicationOfAnotherRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	w.run("setup", "--role", role)
	w.configure(w.as(role, password))
	w.start().stop()
	r := w.run("teardown", "--yes")
	r.prints("dropped slot NAME\ndropped the tables of schema NAME\n" + `role ROLE stays, with its rights to replicate, connect and read the mapped columns; if it has no other use, ask an administrator to run: DROP OWNED BY "ROLE"; DROP ROLE "ROLE"` + "\n")
	r.fails(1, `publication NAME stays because it belongs to role postgres; as that role, run: DROP PUBLICATION "NAME"
schema NAME is empty now but belongs to role postgres; as that role, run: DROP SCHEMA "NAME"`)
	w.leaves("slot false, publication true, schema true")
	w.run("teardown", "--yes", "--url", w.url).done("dropped publication NAME\ndropped schema NAME\n" + `role ROLE stays, with its rights to replicate, connect and read the mapped columns; if it has no other use, ask an administrator to run: DROP OWNED BY "ROLE"; DROP ROLE "ROLE"` + "\n")
	w.exec(fmt.Sprintf("DROP OWNED BY %s", role))
	w.run("teardown", "--yes", "--url", w.url).done("")
}

// inventory lists all objects that setup and run could have created.
func (w *world) inventory() string {
	w.t.Helper()
	var all string
	err := w.conn.QueryRow(w.t.Context(), `SELECT string_agg(line, E'\n' ORDER BY line) FROM (
		SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
		UNION ALL SELECT 'publication ' || pubname FROM pg_publication
		UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'
		UNION ALL SELECT 'table ' || oid::regclass || coalesce(relacl::text, '') FROM pg_class WHERE relnamespace >= 16384 OR relnamespace = 'public'::regnamespace
		UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE oid >= 16384
		UNION ALL SELECT 'type ' || oid::regtype FROM pg_type WHERE oid >= 16384
		UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE current_database() || '%'
		UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
		UNION ALL SELECT 'extension ' || extname FROM pg_extension
		UNION ALL SELECT 'setting ' || setdatabase || setrole || setconfig::text FROM pg_db_role_setting
			WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())) AS made (line)`).Scan(&all)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

func TestTeardown_LeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.inventory()
	w.run("setup")
	relay := w.start()
	w.exec(`INSERT INTO realms (id, name) VALUES (gen_random_uuid(), 'acme')`)
	w.eventually(`SELECT FROM ` + w.name + `.event`)
	if diff := cmp.Diff(before, w.inventory()); diff == "" {
		t.Fatal("the inventory does not see what the relay makes")
	}
	relay.stop()
	w.eventually(`SELECT FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`, w.name)
	w.run("teardown", "--yes").done("dropped slot NAME\ndropped publication NAME\ndropped schema NAME\n")
	if diff := cmp.Diff(before, w.inventory()); diff != "" {
		t.Errorf("it leaves (-before +after):\n%s", diff)
	}
}

// Whatever the outbox says, a slot that cannot be its own stays: of another plugin or database, or ahead of the position of this
// relay.
func TestForeignSlot_IsNeverDropped(t *testing.T) {
	t.Parallel()
	const stays = "slot NAME stays: this relay did not create it\n"
	for name, test := range map[string]struct{ make, outbox, run, teardown string }{
		"plugin, first copy": {
			`SELECT pg_create_logical_replication_slot('NAME', 'test_decoding')`, "copying",
			`drop slot NAME: the replication slot belongs to another program: it has plugin "test_decoding" and database "NAME"; choose another source.slot`, stays,
		},
		"plugin": {`SELECT pg_create_logical_replication_slot('NAME', 'test_decoding')`, "streaming", "", stays},
		"physical": {
			`SELECT pg_create_physical_replication_slot('NAME')`, "copying",
			`drop slot NAME: the replication slot belongs to another program: it has plugin "" and database ""; choose another source.slot`, stays,
		},
		"unknown": {
			`SELECT pg_create_logical_replication_slot('NAME', 'pgoutput')`, "new",
			"slot NAME exists, but this outbox has never read from it: drop it, or choose another source.slot", stays,
		},
		"recreated": {
			`SELECT pg_create_logical_replication_slot('NAME', 'pgoutput')`, "streaming", "",
			"slot NAME stays: it is ahead of the position where this relay stopped, so another program reads it or has recreated it; if none does: SELECT pg_drop_replication_slot('NAME')\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.amend("publication = ", "reconcile = \"stop\"\npublication = ")
			w.start().stop()
			w.dropSlot()
			w.exec(`UPDATE ` + w.name + `.position SET state = '` + test.outbox + `'`)
			w.exec(strings.ReplaceAll(test.make, "NAME", w.name))
			t.Cleanup(func() {
				_, _ = w.conn.Exec(context.WithoutCancel(t.Context()), `SELECT pg_drop_replication_slot($1)`, w.name)
			})
			var was, is string
			slot := func() (s string) {
				if err := w.conn.QueryRow(t.Context(), `SELECT concat_ws(' ', plugin, database, confirmed_flush_lsn) FROM pg_replication_slots WHERE slot_name = $1`, w.name).Scan(&s); err != nil {
					t.Fatal(err)
				}
				return s
			}
			was = slot()
			w.run("setup").done("wal_level is logical\npublication NAME: has all mapped tables\nschema NAME: up to date\n")
			if r := w.run("run"); r.code != 1 {
				t.Errorf("run ends with %d", r.code)
			} else if test.run != "" {
				r.fails(1, test.run)
			}
			w.run("teardown", "--yes").done("dropped publication NAME\ndropped schema NAME\n" + test.teardown)
			if is = slot(); is != was {
				t.Errorf("the slot was %s and is %s", was, is)
			}
		})
	}
}
