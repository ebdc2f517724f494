package integration_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// ids reads one column of text.
func ids(t testing.TB, db *pgxpool.Pool, sql string, arguments ...any) []string {
	t.Helper()
	var all []string
	if err := db.QueryRow(t.Context(), `SELECT coalesce(array_agg(id::text), '{}') FROM (`+sql+`) AS rows(id)`, arguments...).Scan(&all); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return all
}

const insertMany = `INSERT INTO users (id, realm_id, username, firstname, email, created_at, updated_at)
	SELECT gen_random_uuid(), $1, $2 || n, 'First', $2 || n, now(), now() FROM generate_series(1, $3::int) AS n`

// A transaction that does not fit into memory comes out as a small one does: inserts that are updated later in it,
// updates, deletes with their cascades, rows that come and go. Its temporary files go with it.
func TestLarge_SpilledTransactionIsMappedLikeASmallOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(insertMany, w.acme.ID, "old", 2000)
	w.exec(`INSERT INTO credentials (id, user_id, credential_type, secret_data, credential_data) SELECT gen_random_uuid(), id, 'password', 'hash', '{}' FROM users WHERE username LIKE 'old%'`)
	role, err := w.iam.CreateRole(t.Context(), w.acme.ID, "operator", 1)
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO user_role (user_id, role_id) SELECT id, $1 FROM users WHERE username LIKE 'old%'`, role)
	spill := t.TempDir()
	cfg := w.config().webhook(w.hook, "/all").set("source.memory_limit", "64KiB").set("source.spill_dir", spill)
	p := start(t, cfg)
	tx, err := w.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exec := func(sql string, arguments ...any) {
		t.Helper()
		if _, err := tx.Exec(t.Context(), sql, arguments...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(insertMany, w.acme.ID, "new", 3000)
	exec(insertMany, w.acme.ID, "brief", 1000)
	exec(`UPDATE users SET firstname = 'Second' WHERE username LIKE 'new%'`)           // still only user.created
	exec(`UPDATE users SET firstname = firstname WHERE username LIKE 'old%'`)          // nothing
	exec(`UPDATE users SET firstname = 'Third' WHERE username LIKE 'old1%'`)           // user.updated
	exec(`UPDATE users SET firstname = 'Fourth' WHERE username LIKE 'old1%'`)          // the same one
	exec(`DELETE FROM users WHERE username LIKE 'brief%'`)                             // came and went
	exec(`DELETE FROM users WHERE username LIKE 'old2%' AND realm_id = $1`, w.acme.ID) // user.bulk_deleted, with all that cascades
	exec(`UPDATE roles SET name = 'operators' WHERE id = $1`, role)                    // role.updated
	exec(`INSERT INTO user_role (user_id, role_id) SELECT id, $1 FROM users WHERE username = 'new7'`, role)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var a account
	for _, id := range ids(t, w.db, `SELECT id FROM users WHERE username LIKE 'new%'`) {
		a.add(expect("user.created", id, w.acme.ID))
	}
	for _, id := range ids(t, w.db, `SELECT id FROM users WHERE username LIKE 'old1%'`) {
		a.add(expect("user.updated", id, w.acme.ID))
	}
	a.add(expect("user.bulk_deleted", w.acme.ID, w.acme.ID), expect("role.updated", role, w.acme.ID),
		expect("user.role.assigned", ids(t, w.db, `SELECT id FROM users WHERE username = 'new7'`)[0], w.acme.ID))
	got := a.arrives(t, w.hook, "/all")
	w.caughtUp()
	w.sameAsStored(w.db, got)
	files, err := filepath.Glob(filepath.Join(spill, "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("temporary files are left: %v (%v)", files, err)
	}
	p.stop()
	w.audit()
}

// A large transaction whose commit to the outbox is cut off by a crash is ingested again as a whole.
func TestLarge_KilledInTheMiddleOfIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spill := t.TempDir()
	cfg := w.config().webhook(w.hook, "/all").set("source.memory_limit", "64KiB").set("source.spill_dir", spill)
	p := start(t, cfg)
	w.exec(insertMany, w.acme.ID, "new", 3000)
	w.until("it is being written", `SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'iam-relay' AND datname = current_database()
		AND xact_start < query_start AND (query LIKE 'INSERT INTO mirror%' OR query LIKE 'INSERT INTO event%')`)
	p.kill()
	start(t, cfg)
	var a account
	for _, id := range ids(t, w.db, `SELECT id FROM users WHERE username LIKE 'new%'`) {
		a.add(expect("user.created", id, w.acme.ID))
	}
	a.arrives(t, w.hook, "/all")
	if files, err := filepath.Glob(filepath.Join(spill, "*")); err != nil || len(files) > 0 {
		t.Errorf("temporary files are left: %v (%v)", files, err)
	}
	w.audit()
}

// TRUNCATE deletes every row that the mirror has of the table, also those of the same transaction.
func TestLarge_TruncateDeletesWhatWasThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var before account
	uris := []string{w.acme.ConsoleURI}
	for _, uri := range []string{"https://a.example.com", "https://b.example.com"} {
		id, err := w.iam.AddRedirectURI(t.Context(), w.acme.Account, uri)
		if err != nil {
			t.Fatal(err)
		}
		uris = append(uris, id)
	}
	cfg := w.config().webhook(w.hook, "/all", map[string]any{"tenant": w.acme.Name})
	p := start(t, cfg)
	w.createUser(&before, 1)
	w.exec(`TRUNCATE redirect_uris`)
	var after account
	after.expected = slices.Clone(before.expected)
	for _, uri := range uris {
		after.add(expect("redirect_uri.deleted", uri, w.acme.ID))
	}
	late, err := w.iam.AddRedirectURI(t.Context(), w.acme.Account, "https://c.example.com")
	if err != nil {
		t.Fatal(err)
	}
	after.add(expect("redirect_uri.created", late, w.acme.ID))
	after.arrives(t, w.hook, "/all")
	w.until("the mirror has what is left", `SELECT array_agg(key) = ARRAY[$1::text] FROM relay.mirror WHERE table_name = 'redirect_uris'`, late)
	p.stop()
	w.audit()
}
