package integration_test

import (
	"syscall"
	"testing"
)

// A relay that is frozen in the middle of its first copy holds up no migration of the IAM, and goes on when it wakes.
func TestFrozen_InACopyHoldsUpNoMigration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`INSERT INTO users (id, realm_id, username, firstname, email, enabled)
		SELECT gen_random_uuid(), $1, 'old-' || n, repeat('f', 200), 'old-' || n || '@example.com', true FROM generate_series(1, 30000) n`, w.acme.ID)
	all := &account{}
	p := launch(t, w.config().webhook(w.hook, "/all"))
	reading := `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%iam_relay_slice%public%users%' AND pid <> pg_backend_pid())`
	w.until("the relay reads users", reading)
	p.signal(syscall.SIGSTOP)
	// In one session, with a time-out that is longer than the relay's.
	w.exec(`DO $$ BEGIN PERFORM set_config('lock_timeout', '30s', true); EXECUTE 'ALTER TABLE users ADD COLUMN later int'; END $$`)
	p.signal(syscall.SIGCONT)
	p.waitFor(within(t), "streaming the WAL")
	w.createUser(all, 1)
	all.arrives(t, w.hook, "/all")
}
