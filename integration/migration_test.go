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
		t.Errorf("the event log has %d events, not 2: something was skipped", n)
	}
	if message := launch(t, cfg).fails(); !strings.Contains(message, "roles") {
		t.Errorf("at the next start the error says %q", message)
	}
}

// An UPDATE of a primary key leaves a large value where it is, and out of the WAL: it is found under the key that the row had
// first, also if the new key was another row's before.
func TestKey_ChangesTakeLargeValuesAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users, a account
	user := w.createUser(&users, 1)
	w.exec(`ALTER TABLE user_attributes ALTER COLUMN value SET STORAGE EXTERNAL`)
	for _, key := range []string{"moved", "replaced", "renamed"} {
		if err := w.iam.SetAttribute(t.Context(), w.acme.ID, user, key, strings.Repeat(key, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	moved, replaced, renamed := valueOf(t, w, user, "moved"), valueOf(t, w, user, "replaced"), valueOf(t, w, user, "renamed")
	between, last := ferriskey.NewID(), ferriskey.NewID()
	start(t, w.config().webhook(w.hook, "/all").set("mapping.preset", "").set("mapping.file", mappingFile(t, attributesMapping)))
	w.exec(`DO $$ BEGIN DELETE FROM user_attributes WHERE id = '` + replaced + `';
		UPDATE user_attributes SET id = '` + replaced + `' WHERE id = '` + moved + `'; END $$`)
	w.exec(`DO $$ BEGIN UPDATE user_attributes SET id = '` + between + `' WHERE id = '` + renamed + `';
		UPDATE user_attributes SET id = '` + last + `' WHERE id = '` + between + `'; END $$`)
	a.add(expect("user.attribute.deleted", moved, w.acme.ID), expect("user.attribute.updated", replaced, w.acme.ID),
		expect("user.attribute.deleted", renamed, w.acme.ID), expect("user.attribute.created", last, w.acme.ID))
	for _, d := range a.arrives(t, w.hook, "/all") {
		want := "movedmoved"
		if d.Resource == renamed || d.Resource == last {
			want = "renamedrenamed"
		}
		if !strings.Contains(string(d.Body), want) {
			t.Errorf("%s of %s does not say %q: %.300s", d.Event, d.Resource, want, d.Body)
		}
	}
}

// So it is in a transaction that does not fit into memory, where what a row was under its former keys is elsewhere in the file.
func TestKey_ChangesInALargeTransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users, a account
	user := w.createUser(&users, 1)
	w.exec(`ALTER TABLE user_attributes ALTER COLUMN value SET STORAGE EXTERNAL`)
	for _, key := range []string{"kept", "changed"} {
		if err := w.iam.SetAttribute(t.Context(), w.acme.ID, user, key, strings.Repeat(key, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	kept, changed := valueOf(t, w, user, "kept"), valueOf(t, w, user, "changed")
	moved, between, last := ferriskey.NewID(), ferriskey.NewID(), ferriskey.NewID()
	start(t, w.config().webhook(w.hook, "/all").set("source.memory_limit", "64KiB").
		set("mapping.preset", "").set("mapping.file", mappingFile(t, attributesMapping)))
	w.exec(`DO $$ BEGIN
		UPDATE user_attributes SET id = '` + moved + `' WHERE id = '` + kept + `';
		UPDATE user_attributes SET value = repeat('newest', 1000) WHERE id = '` + changed + `';
		UPDATE user_attributes SET id = '` + between + `' WHERE id = '` + changed + `';
		UPDATE user_attributes SET id = '` + last + `' WHERE id = '` + between + `';
		FOR i IN 1..500 LOOP UPDATE users SET firstname = repeat('long', 20) || i WHERE id = '` + user + `'; END LOOP; END $$`)
	a.add(expect("user.attribute.deleted", kept, w.acme.ID), expect("user.attribute.created", moved, w.acme.ID), expect("user.updated", user, w.acme.ID),
		expect("user.attribute.deleted", changed, w.acme.ID), expect("user.attribute.created", last, w.acme.ID))
	wants := map[string]string{kept: "keptkept", moved: "keptkept", changed: "changedchanged", last: "newestnewest"}
	for _, d := range a.arrives(t, w.hook, "/all") {
		if want := wants[d.Resource]; !strings.Contains(string(d.Body), want) {
			t.Errorf("%s of %s does not say %q: %.300s", d.Event, d.Resource, want, d.Body)
		}
	}
}
