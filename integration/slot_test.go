package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// writeLog makes the server write so many MiB of log that concern nobody, and returns where it then ends.
func writeLog(t *testing.T, db *pgxpool.Pool, mib int) (end string) {
	t.Helper()
	for range mib {
		value[string](t, db, `SELECT pg_logical_emit_message(false, 'test', repeat('x', 1 << 20))::text`)
	}
	return value[string](t, db, `SELECT pg_current_wal_insert_lsn()::text`)
}

const state = "iam_relay_state"

func stateLine(word string) string { return fmt.Sprintf(`%s{state=%q} 1`, state, word) }

// acknowledges waits until the relay has acknowledged the WAL up to an LSN.
func (w *world) acknowledges(end string) {
	w.t.Helper()
	w.until("the slot reaches "+end, `SELECT confirmed_flush_lsn >= $2::pg_lsn FROM pg_replication_slots WHERE slot_name = $1`, w.name, end)
}

// letsGo waits until the server keeps less than so many MiB for the slot; it looks at its slots when it makes a checkpoint.
func (w *world) letsGo(mib int) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("less than %d MiB are kept", mib), func() (ok bool, err error) {
		if _, err := w.db.Exec(w.t.Context(), "CHECKPOINT"); err != nil {
			return false, err
		}
		err = w.db.QueryRow(w.t.Context(), `SELECT pg_current_wal_lsn() - restart_lsn < $2::int * 1048576.0 FROM pg_replication_slots WHERE slot_name = $1`, w.name, mib).Scan(&ok)
		return ok, err
	})
}

// An IAM at which nothing happens, on a server where others write all day: the slot follows, and nobody is alarmed.
func TestSlot_IdleSource(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := inhabit(t, server.URL("postgres"))
	if err := server.CreateDatabase(t.Context(), "busy"); err != nil {
		t.Fatal(err)
	}
	busy := connect(t, server.URL("busy"))
	if _, err := busy.Exec(t.Context(), `CREATE TABLE log (line text)`); err != nil {
		t.Fatal(err)
	}
	p := start(t, w.config().webhook(w.hook, "/all").set("source.retained_warning", "32MiB"))
	p.metric(stateLine("idle"))
	const rounds, mib = 3, 16
	for range rounds { // in all, more than what is warned of
		if _, err := busy.Exec(t.Context(), `INSERT INTO log SELECT repeat('x', 900) FROM generate_series(1, 16800)`); err != nil {
			t.Fatal(err)
		}
		w.acknowledges(value[string](t, busy, `SELECT pg_current_wal_insert_lsn()::text`))
		w.letsGo(mib / 2)
		if _, body, err := p.get("/metrics"); err != nil || !strings.Contains(body, "\n"+stateLine("idle")) {
			t.Errorf("it does not call itself idle (%v):\n%s", err, body)
		}
	}
	if report := p.ready(true); !strings.Contains(report, `"detail":"idle"`) {
		t.Errorf("readiness: %s", report)
	}
	if printed, _ := p.log.read(); strings.Contains(printed, "the slot retains much WAL") {
		t.Error("it warns of log that is not kept")
	}
}

// A relay whose outbox is locked says that it is stuck and who is in the way, keeps the slot, and goes on.
func TestSlot_StuckOutbox(t *testing.T) {
	t.Parallel()
	w := inhabit(t, newServer(t).URL("postgres"))
	cfg := w.config().webhook(w.hook, "/all").set("source.retained_warning", "2MiB")
	p := start(t, cfg)
	second := launch(t, cfg)
	second.metric(stateLine("standby"))
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	w.letsGo(1)
	p.ready(true)
	lock, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }) // else the pool waits for it
	if _, err := lock.Exec(t.Context(), w.inOutbox(`SELECT FROM relay.position FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	w.createUser(&a, 2)
	p.metric(stateLine("stuck"))
	blocker := fmt.Sprintf("for a lock of session %d (user postgres", lock.Conn().PgConn().PID())
	if report := p.ready(false); !strings.Contains(report, blocker) {
		t.Errorf("readiness does not say %q: %s", blocker, report)
	}
	writeLog(t, w.db, 4)
	p.waitFor(within(t), "the outbox is stuck: an outbox commit has waited ")
	if n := value[int](t, w.db, `SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1`, w.name); n != 1 {
		t.Errorf("there are %d slots", n)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.metric(stateLine("idle"))
	a.arrives(t, w.hook, "/all")
	p.ready(true)
	w.letsGo(1)
	p.waitFor(within(t), "WAL retained by the slot is back to normal")
}

// An open transaction of any session retains the WAL although all is acknowledged. The relay names it.
func TestSlot_OpenTransaction(t *testing.T) {
	t.Parallel()
	w := inhabit(t, newServer(t).URL("postgres"))
	w.exec(`CREATE TABLE other (n int)`)
	p := start(t, w.config().webhook(w.hook, "/all").set("source.retained_warning", "1MiB"))
	open, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = open.Rollback(context.WithoutCancel(t.Context())) }) // else the pool waits for it
	if _, err := open.Exec(t.Context(), `INSERT INTO other VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("everything is acknowledged, but the transaction of process %d, user postgres, database postgres", open.Conn().PgConn().PID())
	warnings := func() (n int, named bool) {
		printed, _ := p.log.read()
		return strings.Count(printed, "the slot retains much WAL"), strings.Contains(printed, want)
	}
	for mib := 4; ; mib *= 4 {
		before, _ := warnings()
		w.acknowledges(writeLog(t, w.db, mib))
		eventually(t, "a warning", func() (bool, error) { n, _ := warnings(); return n > before, nil })
		if _, named := warnings(); named {
			break
		}
		if mib > 100 { // once, the warning may have come before the relay had read it all
			t.Fatalf("no warning says %q", want)
		}
	}
	if err := open.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.letsGo(1)
	p.waitFor(within(t), "WAL retained by the slot is back to normal")
}
