package command_test

import (
	"fmt"
	"testing"
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

func TestTeardown_DropsWhatTheRelayHasMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay := w.start()
	w.run("teardown", "--yes").fails(1, "a relay is running (session PID of the outbox's server); stop it first, and every other one")
	w.leaves("slot true, publication true, schema true")
	relay.stop()

	r := w.run("teardown")
	r.prints("would drop slot NAME\nwould drop publication NAME\nwould drop schema NAME with all events, deliveries and webhooks in it\n")
	r.fails(2, "nothing was dropped; run it again with --yes")
	w.leaves("slot true, publication true, schema true")

	w.run("teardown", "--yes").done("dropped slot NAME\ndropped publication NAME\ndropped schema NAME\n")
	w.leaves("slot false, publication false, schema false")
	w.run("teardown", "--yes").done("")

	w.start().stop() // as on the first day
}

func TestTeardown_SparesWhatIsOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`CREATE TABLE theirs (id int PRIMARY KEY)`)
	w.exec(`CREATE PUBLICATION ` + w.name + ` FOR TABLE theirs`)
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name)
	w.run("setup")
	w.run("teardown", "--yes").done("dropped schema NAME\nslot NAME stays: this relay has not made it\npublication NAME stays: it publishes more than the mapped tables (public.theirs)\n")
	w.leaves("slot true, publication true, schema false")
	w.exec(`CREATE SCHEMA ` + w.name)
	w.run("teardown", "--yes").fails(1, "schema NAME is not the relay's, or role postgres may not read it; correct outbox.schema")
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
	r.prints("dropped slot NAME\ndropped schema NAME\n")
	r.fails(1, `publication NAME stays, since it belongs to role postgres; let that run: DROP PUBLICATION "NAME"`)
	w.leaves("slot false, publication true, schema false")
	w.run("teardown", "--yes", "--url", w.url).done("dropped publication NAME\n")
}
