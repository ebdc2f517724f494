package command_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

func TestCheck_SlotCloseToItsLimit(t *testing.T) {
	t.Parallel()
	c, url := startCluster(t, cluster.Options{Settings: map[string]string{"max_slot_wal_keep_size": "64MB"}})
	w := worldOn(t, c, url)
	w.run("check").has("! retention    max_slot_wal_keep_size is SIZE, less than max_wal_size (SIZE): a burst of writes while no relay runs invalidates the slot; raise it to the disk space that can be spared")
	w.start().stop()
	w.eventually(`SELECT FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`, w.name)
	w.exec(`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1 << 20)) FROM generate_series(1, 50)`)
	const unread = "no relay reads from the slot: start one, check its connection, or remove the slot with iam-relay teardown"
	w.run("check").has("! retention    the server invalidates slot NAME after another SIZE of WAL: " + unread)
	w.run("status").has("slot      NAME, not in use, reserved; lag SIZE, SIZE of WAL retained, safe for another SIZE", "          "+unread)
	w.exec(`SELECT pg_logical_emit_message(false, 'test', repeat('x', 1 << 20)) FROM generate_series(1, 50)`)
	w.exec(`SELECT pg_switch_wal()`)
	w.exec(`CHECKPOINT`)
	w.run("check").has("! slot         " + w.plain(lost(w)) + "; iam-relay run compares all tables with the mirror and emits the differences")
	w.run("status").fails(1, w.plain(lost(w)))
}

// lost is the error for a slot that the server has invalidated.
func lost(w *world) string {
	reason := "lost"
	if w.exists(`SELECT FROM pg_replication_slots s WHERE slot_name = $1 AND to_jsonb(s)->>'invalidation_reason' IS NOT NULL`, w.name) {
		reason = "wal_removed"
	}
	return "cannot resume from the stored position: slot NAME is lost (" + reason + "): the server removed WAL that was not read yet"
}

// A first start that was killed leaves its slot behind, which no other program will read or drop.
func TestCheck_InterruptedFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("setup")
	w.exec(`UPDATE ` + w.name + `.position SET state = 'copying', slot = '` + w.name + `'`)
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name)
	w.run("check").has("! slot         NAME belongs to a first start that was interrupted, and SIZE of WAL are retained by it; iam-relay run starts again, iam-relay teardown drops it")
	w.start()
	w.exec(`INSERT INTO realms (id, name) VALUES (gen_random_uuid(), 'acme')`)
	w.eventually(`SELECT FROM ` + w.name + `.event WHERE name = 'realm.created'`)
}

// A server without a free WAL sender is waited for, and the log says which of its limits it is.
func TestRun_NoFreeSender(t *testing.T) {
	t.Parallel()
	c, url := startCluster(t, cluster.Options{Settings: map[string]string{"max_wal_senders": "1"}})
	w := worldOn(t, c, url)
	conn, err := pgconn.Connect(t.Context(), w.url+"&replication=database")
	if err != nil {
		t.Fatal(err)
	}
	relay := w.launch()
	relay.waitFor("all WAL senders are in use: raise max_wal_senders (requires a server restart), or end an unused one")
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	relay.waitFor("streaming the WAL")
}
