package integration_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/cluster"
)

// restart starts servers again, and forgets the connections to their former lives.
func (w *world) restart(servers ...*cluster.Cluster) {
	w.t.Helper()
	for _, server := range servers {
		if err := server.Restart(within(w.t)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.db.Reset()
}

// stopFast shuts the server down, which nothing that the relay does may delay: a server that waits for the relay has not stopped
// after half a minute, and that is an error.
func stopFast(t *testing.T, server *cluster.Cluster) {
	t.Helper()
	began := time.Now()
	if err := server.Stop("fast"); err != nil {
		t.Fatal(err)
	}
	t.Logf("the server has stopped after %s", time.Since(began).Round(time.Millisecond))
}

func TestRestart_FastShutdown_RelayIdle(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := inhabit(t, server.URL("postgres"))
	p := start(t, w.config().webhook(w.hook, "/all"))
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	w.until("everything is done", `SELECT delivered = last_event FROM relay.watermark, relay.position`)
	stopFast(t, server)
	w.restart(server)
	w.createUser(&a, 2)
	a.arrives(t, w.hook, "/all")
	p.stop()
	w.audit()
}

func TestRestart_FastShutdown_RelayBusy(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	w := inhabit(t, server.URL("postgres"))
	p := start(t, w.config().webhook(w.hook, "/all"))
	load := w.begin(4, 5*time.Millisecond)
	w.arrivesMore(200)
	stopFast(t, server)
	w.restart(server)
	w.arrivesMore(100)
	load.end()
	load.arrives(t, w.hook, "/all")
	p.stop()
	w.audit()
}

// The outbox is on a server of its own, which is down while transactions of the source are pending.
func TestRestart_FastShutdown_OutboxStopped(t *testing.T) {
	t.Parallel()
	source, store := newServer(t), newServer(t)
	w := inhabit(t, source.URL("postgres"))
	p := start(t, w.config().webhook(w.hook, "/all").set("outbox.url", store.URL("postgres")))
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	if err := store.Stop("immediate"); err != nil {
		t.Fatal(err)
	}
	w.createUsers(&a, 100, 200)
	stopFast(t, source)
	p.waitFor(within(t), "outbox failed; retrying")
	w.restart(source, store)
	w.createUser(&a, 2)
	a.arrives(t, w.hook, "/all")
	p.stop()
	w.auditIn(connect(t, store.URL("postgres")))
}

// The outbox's server answers nothing, and ends no connection either: the relay has transactions in its hands and waits.
func TestRestart_FastShutdown_OutboxFrozen(t *testing.T) {
	t.Parallel()
	source, store := newServer(t), newServer(t)
	w := inhabit(t, source.URL("postgres"))
	outbox := connect(t, store.URL("postgres"))
	p := start(t, w.config().webhook(w.hook, "/all").set("outbox.url", store.URL("postgres")))
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	thaw := freeze(t, store, outbox)
	w.createUsers(&a, 100, 200)
	end := value[string](t, w.db, `SELECT pg_current_wal_lsn()::text`)
	w.until("the relay has what it cannot commit", `SELECT sent_lsn >= $2::pg_lsn AND confirmed_flush_lsn < $2::pg_lsn
		FROM pg_stat_replication JOIN pg_replication_slots ON active_pid = pid WHERE slot_name = $1`, w.name, end)
	stopFast(t, source)
	thaw()
	w.restart(source)
	w.createUser(&a, 2)
	a.arrives(t, w.hook, "/all")
	p.stop()
	w.auditIn(outbox)
}

// freeze stops all processes of a server where they are, until the returned function is called.
func freeze(t *testing.T, server *cluster.Cluster, db *pgxpool.Pool) (thaw func()) {
	t.Helper()
	frozen := []int{server.PID()}
	send := func(signal syscall.Signal, pids ...int) {
		t.Helper()
		for _, pid := range pids {
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, syscall.ESRCH) {
				t.Error(err)
			}
		}
	}
	thaw = func() { send(syscall.SIGCONT, frozen...); frozen = nil }
	t.Cleanup(thaw)
	conn, err := db.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	send(syscall.SIGSTOP, frozen...) // first, so that it starts no more
	var pids []int
	if err := conn.QueryRow(context.WithoutCancel(t.Context()), `SELECT array_agg(pid) FROM pg_stat_activity`).Scan(&pids); err != nil {
		t.Fatal(err)
	}
	frozen = append(frozen, pids...)
	send(syscall.SIGSTOP, pids...)
	return thaw
}
