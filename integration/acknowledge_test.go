package integration_test

import (
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// acknowledged returns by how many bytes the slot is ahead of the outbox; it never may be. The slot is read first: both positions
// only ever grow.
func (w *world) acknowledged(outbox *pgxpool.Pool) (ahead int64, err error) {
	var confirmed string
	if err := w.db.QueryRow(w.t.Context(), `SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = $1`, w.name).Scan(&confirmed); err != nil {
		return 0, err
	}
	err = outbox.QueryRow(w.t.Context(), w.inOutbox(`SELECT ($1::pg_lsn - lsn)::bigint FROM relay.position`), confirmed).Scan(&ahead)
	return ahead, err
}

// watchAcknowledged checks, until the returned function is called, that the relay never acknowledges an LSN that
// the outbox has not committed.
func (w *world) watchAcknowledged(outbox *pgxpool.Pool) (end func()) {
	done := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		tick := time.NewTicker(strength(3*time.Millisecond, 10*time.Millisecond, 20*time.Millisecond))
		defer tick.Stop()
		looks := 0
		for {
			select {
			case <-done:
				w.t.Logf("looked %d times at what was acknowledged", looks)
				return
			case <-tick.C:
			}
			if ahead, err := w.acknowledged(outbox); err == nil && ahead > 0 {
				w.t.Errorf("the slot is %d bytes ahead of the outbox", ahead)
				return
			} else if err == nil {
				looks++
			}
		}
	})
	end = sync.OnceFunc(func() { close(done); group.Wait() })
	w.t.Cleanup(end)
	return end
}

// While the outbox cannot commit, nothing is acknowledged; a relay that is killed then has lost nothing.
func TestAcknowledge_OnlyWhatTheOutboxHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	p := start(t, cfg)
	var a account
	w.createUser(&a, 100)
	a.arrives(t, w.hook, "/all") // else the next commit might only be an idle source's position
	lock, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), w.inOutbox(`SELECT FROM relay.position FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		w.createUser(&a, i)
	}
	w.until("the outbox commit waits", `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%advance%' AND datname = current_database()`)
	// Whatever the relay has acknowledged by then, it acknowledged after the commit had begun.
	since := value[time.Time](t, w.db, `SELECT clock_timestamp() + interval '200 ms'`)
	w.until("the relay has sent a status update", `SELECT coalesce(max(reply_time) > $2, false)
		FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = $1`, w.name, since)
	if ahead, err := w.acknowledged(w.db); err != nil || ahead > 0 {
		t.Errorf("the slot is %d bytes ahead of the outbox (%v)", ahead, err)
	}
	p.kill()
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	start(t, cfg)
	a.arrives(t, w.hook, "/all")
}
