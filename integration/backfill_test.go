package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// mappingFile writes a mapping that begins with the preset.
func mappingFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mapping.toml")
	if err := os.WriteFile(path, []byte("extends = \"ferriskey\"\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const attributesMapping = `
[tables.user_attributes]
key     = ["id"]
parents = { user_id = "users", realm_id = "realms" }
columns = ["id", "user_id", "realm_id", "key", "value"]

[tables.user_attributes.events."user.attribute.created"]
on    = "insert"

[tables.user_attributes.events."user.attribute.updated"]
on    = "update"

[tables.user_attributes.events."user.attribute.deleted"]
on    = "delete"
`

// A table that the mapping gains is read as it is, consistently with the stream: nothing is emitted for rows that were
// there, what happened while no relay ran is emitted once, and the rows' later changes know what they were.
func TestBackfill_TableIsAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users, a account
	user := w.createUser(&users, 1)
	cfg := w.config().webhook(w.hook, "/all")
	start(t, cfg).stop()
	for _, key := range []string{"old", "changed", "dropped"} {
		if err := w.iam.SetAttribute(t.Context(), w.acme.ID, user, key, "1"); err != nil {
			t.Fatal(err)
		}
	}
	attribute := func(key string) string {
		return value[string](t, w.db, `SELECT id::text FROM user_attributes WHERE user_id = $1 AND key = $2`, user, key)
	}
	w.createUser(&a, 2) // committed while nobody read, and before the table is read
	cfg.set("mapping.file", mappingFile(t, attributesMapping)).set("mapping.preset", "")
	load := w.begin(1, 20*time.Millisecond)
	p := start(t, cfg)
	p.waitFor(within(t), "copied the mapped tables into the mirror")
	if err := w.iam.SetAttribute(t.Context(), w.acme.ID, user, "changed", "2"); err != nil {
		t.Fatal(err)
	}
	a.add(expect("user.attribute.updated", attribute("changed"), w.acme.ID), expect("user.attribute.deleted", attribute("dropped"), w.acme.ID))
	w.exec(`DELETE FROM user_attributes WHERE user_id = $1 AND key = 'dropped'`, user)
	if err := w.iam.SetAttribute(t.Context(), w.acme.ID, user, "new", "1"); err != nil {
		t.Fatal(err)
	}
	a.add(expect("user.attribute.created", attribute("new"), w.acme.ID))
	load.end()
	a.add(load.expected...)
	got := a.arrives(t, w.hook, "/all")
	for i := range got {
		if got[i].Event == "user.attribute.deleted" && !strings.Contains(string(got[i].Body), `"key":"dropped","value":"1"`) {
			t.Errorf("the deleted row is not whole: %s", got[i].Body)
		}
	}
	p.stop()
	w.audit()
	w.until("the snapshot's slot is gone", `SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name LIKE $1 || '\_copy%'`, w.name)
}

// A column that the mapping gains is known for old rows too, from the first change on.
func TestBackfill_ColumnIsAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE realms ADD COLUMN region text`)
	w.exec(`UPDATE realms SET region = 'eu-west-1'`)
	cfg := w.config().webhook(w.hook, "/all").set("source.slot", w.name+strings.Repeat("_", 63-len(w.name))) // the longest name
	start(t, cfg).stop()
	const columns = `columns = ["id", "name", "display_name", "region", "created_at", "updated_at"]
ignore = ["updated_at"]
data = ["id", "name", "region"]
`
	cfg.set("mapping.file", mappingFile(t, "[tables.realms]\nkey = [\"id\"]\n"+columns)).set("mapping.preset", "")
	p := start(t, cfg)
	p.waitFor(within(t), "copied the mapped tables into the mirror")
	if err := w.iam.DeleteRealm(t.Context(), w.acme); err != nil {
		t.Fatal(err)
	}
	var a account
	a.add(expect("realm.deleted", w.acme.ID, w.acme.ID))
	got := a.arrives(t, w.hook, "/all")
	if !strings.Contains(string(got[0].Body), `"region":"eu-west-1"`) {
		t.Errorf("the deleted realm lacks the new column: %s", got[0].Body)
	}
}

// An older FerrisKey lacks tables and columns; the preset does without them. Once a migration brings one, a restart reads
// it.
func TestBackfill_OptionalTablesAndColumnsComeLater(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`DROP TABLE client_web_origins, device_auth_sessions, post_logout_redirect_uris CASCADE`)
	w.exec(`ALTER TABLE users DROP COLUMN failed_login_attempts, DROP COLUMN locked_until`)
	w.exec(`ALTER TABLE roles DROP COLUMN require_mfa`)
	cfg := w.config().webhook(w.hook, "/all")
	p := start(t, cfg)
	var a account
	user := ferriskey.NewID()
	w.exec(`INSERT INTO users (id, realm_id, username, created_at, updated_at) VALUES ($1, $2, 'old', now(), now())`, user, w.acme.ID)
	a.add(expect("user.created", user, w.acme.ID))
	got := a.arrives(t, w.hook, "/all")
	if !strings.Contains(string(got[0].Body), `"failed_login_attempts":0`) {
		t.Errorf("a receiver that knows the column misses it: %s", got[0].Body)
	}
	p.stop()
	w.exec(`CREATE TABLE client_web_origins (id uuid PRIMARY KEY, client_id uuid NOT NULL REFERENCES clients ON DELETE CASCADE, value text NOT NULL,
		created_at timestamp NOT NULL, updated_at timestamp NOT NULL)`)
	w.exec(`ALTER TABLE users ADD COLUMN failed_login_attempts integer NOT NULL DEFAULT 7`)
	p = start(t, cfg)
	origin, err := w.iam.AddWebOrigin(t.Context(), w.acme.Account, "https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE users SET username = 'new' WHERE id = $1`, user)
	a.add(expect("web_origin.created", origin, w.acme.ID), expect("user.updated", user, w.acme.ID))
	got = a.arrives(t, w.hook, "/all")
	i := len(got) - 1
	for got[i].Event != "user.updated" {
		i--
	}
	if !strings.Contains(string(got[i].Body), `"failed_login_attempts":7`) {
		t.Errorf("the new column is not in the event: %s", got[i].Body)
	}
	p.stop()
}

// A large value of a column that the mapping gains is not in the WAL of an UPDATE that leaves it alone, and not yet in the
// mirror for one that is read before the column is. That must not stop the relay.
func TestBackfill_ColumnWithALargeValue(t *testing.T) {
	t.Parallel()
	t.Run("the snapshot has it", func(t *testing.T) { t.Parallel(); backfillLargeValue(t, false) })
	t.Run("a transaction prevents the snapshot", func(t *testing.T) { t.Parallel(); backfillLargeValue(t, true) })
}

func backfillLargeValue(t *testing.T, open bool) {
	t.Helper()
	w := newWorld(t)
	w.exec(`ALTER TABLE realms ADD COLUMN terms text`)
	w.exec(`ALTER TABLE realms ALTER COLUMN terms SET STORAGE EXTERNAL`)
	w.exec(`UPDATE realms SET terms = repeat('x', 10000)`)
	gone := ferriskey.NewID()
	w.exec(`INSERT INTO realms (id, name, terms, created_at, updated_at) VALUES ($1, 'gone', repeat('y', 10000), now(), now())`, gone)
	cfg := w.config().webhook(w.hook, "/all")
	start(t, cfg).stop()
	w.exec(`UPDATE realms SET name = 'gone-too' WHERE id = $1`, gone)
	w.exec(`UPDATE realms SET name = 'acme-2' WHERE id = $1`, w.acme.ID)
	w.exec(`DELETE FROM realms WHERE id = $1`, gone)
	const columns = `columns = ["id", "name", "display_name", "terms", "created_at", "updated_at"]
ignore = ["updated_at"]
data = ["id", "name", "terms"]
`
	cfg.set("mapping.file", mappingFile(t, "[tables.realms]\nkey = [\"id\"]\n"+columns)).set("mapping.preset", "")
	if open {
		conn, err := pgx.Connect(t.Context(), w.url)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		if _, err := conn.Exec(t.Context(), `BEGIN; CREATE TABLE elsewhere (id int)`); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, cfg)
	var a account
	a.add(expect("realm.updated", gone, gone), expect("realm.updated", w.acme.ID, w.acme.ID), expect("realm.deleted", gone, gone))
	for _, d := range a.arrives(t, w.hook, "/all") {
		want := `"terms":"xxxxx`
		if d.Resource == gone { // and with it what its terms were
			want = `"terms":null`
		}
		if !strings.Contains(string(d.Body), want) {
			t.Errorf("the event lacks %s: %.300s", want, d.Body)
		}
	}
	p.stop()
}

// What a mapping leaves out for a while is not followed meanwhile, so it is read again when the mapping has it again.
func TestBackfill_TableIsMappedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users, a account
	user := w.createUser(&users, 1)
	with := mappingFile(t, attributesMapping)
	cfg := w.config().webhook(w.hook, "/all").set("mapping.file", with).set("mapping.preset", "")
	set := func(key, value string) string {
		t.Helper()
		if err := w.iam.SetAttribute(t.Context(), w.acme.ID, user, key, value); err != nil {
			t.Fatal(err)
		}
		return valueOf(t, w, user, key)
	}
	changed := set("changed", "1")
	start(t, cfg).stop()
	cfg.set("mapping.file", mappingFile(t, ""))
	p := start(t, cfg)
	set("changed", "2")
	missed := set("missed", "1")
	w.caughtUp()
	a.add(expect("user.created", value[string](t, w.db, `SELECT id::text FROM users WHERE realm_id = $1 ORDER BY created_at DESC LIMIT 1`, w.iam.Master.ID), w.iam.Master.ID))
	p.stop()
	cfg.set("mapping.file", with)
	p = start(t, cfg)
	p.waitFor(within(t), "copied the mapped tables into the mirror")
	w.exec(`DELETE FROM user_attributes WHERE user_id = $1`, user)
	a.add(expect("user.attribute.deleted", changed, w.acme.ID), expect("user.attribute.deleted", missed, w.acme.ID))
	got := a.arrives(t, w.hook, "/all")
	for i := range got {
		if got[i].Resource == changed && !strings.Contains(string(got[i].Body), `"key":"changed","value":"2"`) {
			t.Errorf("the deleted row is not what it was: %s", got[i].Body)
		}
	}
}

func valueOf(t testing.TB, w *world, user, key string) string {
	t.Helper()
	return value[string](t, w.db, `SELECT id::text FROM user_attributes WHERE user_id = $1 AND key = $2`, user, key)
}

// Rows are found from their parent by a column that the mirror keeps beside them. A mapping that begins to collect the rows
// of a table that was mapped before finds also those that were there.
func TestBackfill_RowsAreCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.iam.CreateRole(t.Context(), w.acme.ID, "operator", 1); err != nil {
		t.Fatal(err)
	}
	cfg := w.config().webhook(w.hook, "/all")
	start(t, cfg).stop()
	cfg.set("mapping.preset", "").set("mapping.file", mappingFile(t, `[tables.realms]
key = ["id"]
columns = ["id", "name", "display_name", "created_at", "updated_at"]
ignore = ["updated_at"]
collect = { roles = { table = "roles", by = "realm_id", column = "name" } }
data = ["id", "roles"]
`))
	start(t, cfg)
	if err := w.iam.UpdateRealm(t.Context(), w.acme.ID, w.acme.Name, "Acme Corporation"); err != nil {
		t.Fatal(err)
	}
	var a account
	a.add(expect("realm.updated", w.acme.ID, w.acme.ID))
	for _, d := range a.arrives(t, w.hook, "/all") {
		if !strings.Contains(string(d.Body), `"operator"`) {
			t.Errorf("the role is not in the event: %s", d.Body)
		}
	}
}

// Webhooks of a table that was missing when the relay began are subscribed once the table has appeared.
func TestBackfill_WebhooksAreAdded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, secret := w.subscribe("/iam", "user.created")
	w.exec(`ALTER TABLE webhooks RENAME TO webhooks_later`)
	cfg := w.config().set("mapping.preset", "").set("mapping.file", mappingFile(t, "[tables.webhooks]\noptional = true\n"))
	cfg.secrets = append(cfg.secrets, secret)
	start(t, cfg).stop()
	w.exec(`ALTER TABLE webhooks_later RENAME TO webhooks`)
	start(t, cfg).waitFor(within(t), "reconciliation finished")
	var a account
	w.createUser(&a, 1)
	a.arrives(t, w.hook, "/iam")
}

// What happens in a table while it is not published does not reach the relay. It is found and emitted when the relay is back.
func TestBackfill_TableThatWasNotPublishedIsCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var a account
	user := w.createUser(&account{}, 1)
	cfg := w.config().webhook(w.hook, "/all")
	start(t, cfg).stop()
	w.exec(`ALTER PUBLICATION ` + w.name + ` DROP TABLE users`)
	w.createUser(&a, 2)
	w.exec(`UPDATE users SET firstname = 'Unheard' WHERE id = $1`, user)
	a.add(expect("user.updated", user, w.acme.ID))
	p := start(t, cfg)
	p.waitFor(within(t), "reconciliation finished")
	w.createUser(&a, 3)
	reconciled, _ := reconciledOf(a.arrives(t, w.hook, "/all"))
	if len(reconciled) != 2 {
		t.Errorf("%d events are marked, want 2", len(reconciled))
	}
	p.stop()
	w.audit()
}
