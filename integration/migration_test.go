package integration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// migrate runs the statements of a migration of the IAM, each of which must succeed.
func (w *world) migrate(statements ...string) {
	w.t.Helper()
	for _, sql := range statements {
		w.exec(sql)
	}
}

// Nothing that the relay does makes the IAM's own statements fail, migrations included; and what changes in columns that are
// not mapped, or in ways that say the same, is none of its business.
func TestMigration_RunsWhileTheRelayDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all"))
	load := w.begin(2, 10*time.Millisecond)
	eventually(t, "the load runs", func() (bool, error) { return load.len() > 20, nil })
	w.migrate(
		`ALTER TABLE users ADD COLUMN nickname text NOT NULL DEFAULT 'none'`,
		`ALTER TABLE users RENAME COLUMN nickname TO alias`,
		`ALTER TABLE users ALTER COLUMN alias TYPE varchar(40)`,
		`UPDATE users SET alias = 'some'`, // unmapped: no event
		`ALTER TABLE users DROP COLUMN alias`,
		`ALTER TABLE users ALTER COLUMN username TYPE text`, // mapped, rewrites the table
		`ALTER TABLE users ALTER COLUMN failed_login_attempts TYPE bigint`,
		`ALTER TABLE users DROP COLUMN locked_until`, // mapped, optional
		`ALTER TABLE users ADD COLUMN locked_until timestamptz`,
		`ALTER TABLE credentials RENAME COLUMN secret_data TO secret`,
		`ALTER TABLE security_events RENAME TO audit_log`,
		`CREATE TABLE more (id int)`, `INSERT INTO more VALUES (1)`, `UPDATE more SET id = 2`, `DELETE FROM more`, `DROP TABLE more`,
		`CREATE INDEX ON users (lower(email))`,
		`VACUUM FULL roles`,
		`CREATE INDEX CONCURRENTLY ON users (firstname)`,
	)
	before := load.len()
	eventually(t, "the load runs on", func() (bool, error) { return load.len() > before+20, nil })
	load.end()
	load.arrives(t, w.hook, "/all")
	p.ready(true)
	p.stop()
	w.audit()
}

// When a migration takes away what the mapping needs, the IAM goes on and the relay stops: loudly, with the table and what
// to do, and without having skipped anything. With the column back, it goes on where it stopped.
func TestMigration_OfWhatIsNeededStopsTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	p := start(t, cfg)
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/all")
	w.caughtUp()
	a.add(expect("user.created", value[string](t, w.db, `SELECT id::text FROM users WHERE realm_id = $1 ORDER BY created_at DESC LIMIT 1`, w.iam.Master.ID), w.iam.Master.ID))
	w.migrate(`ALTER TABLE roles RENAME COLUMN name TO title`)
	role := ferriskey.NewID()
	w.exec(`INSERT INTO roles (id, realm_id, title) VALUES ($1, $2, 'operator')`, role, w.acme.ID)
	w.createUser(&a, 2) // after what cannot be read
	message := p.fails()
	for _, want := range []string{"roles", "name"} {
		if !strings.Contains(message, want) {
			t.Errorf("the error does not say %q: %s", want, message)
		}
	}
	if n := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.event`)); n != 2 {
		t.Errorf("the log has %d events, not 2: something was skipped", n)
	}
	if message := launch(t, cfg).fails(); !strings.Contains(message, "roles") {
		t.Errorf("at the next start the error says %q", message)
	}
}
