package integration_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

const standingBy = "another relay leads; this one is on standby"

// arrivesMore waits for n more different events than have come by now.
func (w *world) arrivesMore(n int) {
	w.t.Helper()
	enough := w.hook.Snapshot().Distinct + n
	if _, err := w.hook.Wait(within(w.t), func(s *receiver.Snapshot) bool { return s.Distinct >= enough }); err != nil {
		w.t.Fatal(err)
	}
}

// epoch is the number of the relay that may write.
func (w *world) epoch() int {
	w.t.Helper()
	return value[int](w.t, w.db, w.inOutbox(`SELECT epoch FROM relay.position`))
}

// A leader that is frozen, and thawed when another one leads, believes that it still leads. It writes nothing.
func TestLeader_ThawedLeaderWritesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	frozen := start(t, cfg)
	standby := launch(t, cfg)
	standby.waitFor(within(t), standingBy)
	load := w.begin(4, 20*time.Millisecond)
	watch := w.watchAcknowledged(w.db)
	w.arrivesMore(100)
	before := w.epoch()

	frozen.signal(syscall.SIGSTOP)
	// Its other sessions live on: what it writes through them would not fail by itself.
	w.exec(`SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
	standby.waitFor(within(t), "streaming the WAL")
	w.arrivesMore(100)
	frozen.signal(syscall.SIGCONT)
	frozen.waitFor(within(t), standingBy)
	w.arrivesMore(100)

	if after := w.epoch(); after != before+1 {
		t.Errorf("epoch %d follows epoch %d", after, before)
	}
	load.end()
	got := load.arrives(t, w.hook, "/all")
	watch()
	frozen.stop()
	standby.stop()
	w.sameAsStored(w.db, got)
	w.audit()
}

// A commit to the outbox that takes longer than the server waits for its receiver does not cost the connection: the server
// receives the relay's status updates all the while.
func TestLeader_LongCommitKeepsTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all").set("source.wal_sender_timeout", "5s"))
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	const walsender = `SELECT pid FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = $1`
	before := value[int](t, w.db, walsender, w.name)
	lock, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var locker int
	if err := lock.QueryRow(t.Context(), w.inOutbox(`SELECT pg_backend_pid() FROM relay.position FOR UPDATE`)).Scan(&locker); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		w.createUser(&a, 2+i)
	}
	const waits = `FROM pg_stat_activity WHERE $1::int = ANY (pg_blocking_pids(pid)) AND query LIKE '%advance%'`
	w.until("the outbox commit waits", `SELECT count(*) > 0 `+waits, locker)
	w.until("it has waited for 12 s", `SELECT coalesce(max(now() - query_start) > interval '12 s', false) `+waits, locker)
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.arrives(t, w.hook, "/all")
	if after := value[int](t, w.db, walsender, w.name); after != before {
		t.Errorf("walsender %d has replaced walsender %d", after, before)
	}
	p.stop()
	w.audit()
}
