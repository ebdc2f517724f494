package integration_test

import (
	"syscall"
	"testing"
)

// relaysOwn are the relay's sessions: replication, and everything else.
const relaysOwn = ` FROM pg_stat_activity WHERE application_name = 'iam-relay' AND datname = current_database()`

// The relay's replication connections are ended, by an administrator or by a failover.
func TestFault_WalsenderTerminated(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("source: `pg_terminate_backend` of the walsender")
	p := tr.start()
	tr.begin()
	tr.inject(strength(50, 5, 2), func() {
		tr.until("the walsender is ended", `SELECT coalesce(bool_or(pg_terminate_backend(active_pid)), false) FROM pg_replication_slots WHERE slot_name = $1`, tr.name)
	})
	tr.end(p)
}

// All sessions of the relay are ended at once, the one that holds the leader's lock among them.
func TestFault_SessionsTerminated(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("source and outbox: `pg_terminate_backend` of all sessions")
	p := tr.start()
	tr.begin()
	tr.inject(strength(50, 5, 2), func() {
		tr.until("its sessions are ended", `SELECT count(pg_terminate_backend(pid)) > 0`+relaysOwn)
	})
	tr.end(p)
}

// One process of the server is killed, whereupon the server ends all others and recovers from a crash.
func TestFault_BackendKilled(t *testing.T) {
	t.Parallel()
	for name, pick := range map[string]string{
		"walsender": `SELECT coalesce((SELECT active_pid FROM pg_replication_slots WHERE active AND slot_type = 'logical'), 0)`,
		"outbox":    `SELECT coalesce((SELECT pid` + relaysOwn + ` AND query LIKE '%advance%' LIMIT 1), 0)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := inhabit(t, newServer(t).URL("postgres")).try("server: `kill -9` of the " + name + "'s process, crash recovery")
			p := tr.start()
			tr.begin()
			tr.inject(strength(10, 2, 1), func() {
				eventually(t, "a process is killed", func() (bool, error) {
					var pid int
					if err := tr.db.QueryRow(t.Context(), pick).Scan(&pid); err != nil || pid == 0 {
						return false, err
					}
					return true, syscall.Kill(pid, syscall.SIGKILL)
				})
				tr.db.Reset()
			})
			tr.end(p)
		})
	}
}

// The server that is source and outbox goes away, and comes back.
func TestFault_ServerGone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ fault, mode string }{
		"killed":    {"server: `kill -9` of the postmaster", ""},
		"fast":      {"server: fast shutdown", "fast"},
		"immediate": {"server: immediate shutdown", "immediate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t)
			tr := inhabit(t, server.URL("postgres")).try(test.fault)
			p := tr.start()
			tr.begin()
			tr.inject(strength(20, 3, 1), func() {
				end := server.Kill
				if test.mode != "" {
					end = func() error { return server.Stop(test.mode) }
				}
				if err := end(); err != nil {
					t.Fatal(err)
				}
				tr.restart(server)
			})
			tr.end(p)
		})
	}
}
