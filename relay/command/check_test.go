package command_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

func TestCheck_BeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	c, url := startCluster(t, cluster.Options{Settings: map[string]string{"max_slot_wal_keep_size": "8GB"}})
	w := worldOn(t, c, url)
	w.run("check").done(`✓ config       CONFIG
✓ mapping      35 events of 16 tables
✓ spill        large transactions go into temporary files in /tmp
— outbox       schema NAME of database NAME does not exist yet; iam-relay run creates it
✓ source       PostgreSQL VERSION, database NAME, role postgres
✓ wal_level    logical
✓ replication  role postgres opens a replication connection
✓ tables       16, with their keys and columns
— publication  NAME does not exist; iam-relay run creates it
✓ others       no publication makes the IAM's own UPDATE or DELETE fail
— slot         NAME does not exist yet; iam-relay run creates it at its first start
✓ slots        20 of 20 free
✓ senders      20 of 20 free
✓ retention    the server keeps up to SIZE of WAL while no relay runs
✓ webhooks     0 in the configuration; those of the IAM are read on the first start
`)
}

func TestCheck_NoPlaceForLargeTransactions(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), binary, "check", "--config", newWorld(t).config)
	cmd.Env = []string{"TMPDIR=/nowhere"}
	out, _ := cmd.Output() // The exit code is checked.
	want := "\n✗ spill        cannot create a temporary file for large transactions in /nowhere: no such file or directory; make it writable, or set source.spill_dir to another directory\n"
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), want) {
		t.Errorf("exit code %d:\n%s", cmd.ProcessState.ExitCode(), out)
	}
}

func TestCheck_PublicationsThatBreakTheIAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`CREATE TABLE keyless (id int); CREATE PUBLICATION other FOR TABLE keyless`)
	const keyless = "✗ others       publication other makes UPDATE or DELETE on public.keyless fail: it has no replica identity: add a primary key, or remove it from the publication"
	r := w.run("check")
	r.has(keyless)
	r.fails(1, "1 prerequisite is not met")
	if _, err := w.conn.Exec(t.Context(), `DELETE FROM keyless`); err == nil {
		t.Error("it does not fail")
	}
	w.exec(`CREATE PUBLICATION inserts FOR TABLE keyless WITH (publish = 'insert'); DROP PUBLICATION other`)
	w.run("check").has("✓ others       no publication makes the IAM's own UPDATE or DELETE fail")

	if clustertest.Cluster(t).Major < 15 {
		return // it has no column lists and no row filters
	}
	for _, test := range []struct{ sql, undo, reason string }{
		{"CREATE PUBLICATION other FOR TABLE users (username)", "", "its column list does not include the replica identity: add those columns to the list"},
		{"CREATE PUBLICATION other FOR TABLE users (id, username); ALTER TABLE users REPLICA IDENTITY FULL", "ALTER TABLE users REPLICA IDENTITY DEFAULT", "its column list does not include the replica identity: add those columns to the list"},
		{"CREATE PUBLICATION other FOR TABLE users WHERE (username > 'm')", "", "its row filter uses a column outside the replica identity: remove the row filter"},
	} {
		w.exec(test.sql)
		w.run("check").has("✗ others       publication other makes UPDATE or DELETE on public.users fail: " + test.reason + ", or remove it from the publication")
		if _, err := w.conn.Exec(t.Context(), `UPDATE users SET enabled = true`); err == nil {
			t.Errorf("after %q it does not fail", test.sql)
		}
		w.exec("DROP PUBLICATION other; " + test.undo)
	}
	for _, sound := range []string{"CREATE PUBLICATION other FOR TABLE users (id, username)", "CREATE PUBLICATION other FOR TABLE users WHERE (id <> '00000000-0000-0000-0000-000000000000')"} {
		w.exec(sound)
		w.run("check").has("✓ others       no publication makes the IAM's own UPDATE or DELETE fail")
		w.exec("UPDATE users SET enabled = true; DROP PUBLICATION other")
	}
}

// What the relay's own publication would do to the IAM's statements is refused before the publication is touched; what those of
// other tools do to the mapped tables is reported.
func TestSetup_BreaksNoStatementsOfTheIAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE users REPLICA IDENTITY FULL`)
	if major := clustertest.Cluster(t).Major; major >= 15 {
		w.exec(fmt.Sprintf(`CREATE PUBLICATION %s FOR TABLE users (id, realm_id, username)`, w.name))
		const refusal = "publication NAME: it makes UPDATE and DELETE of the application fail on public.users: its column list does not include the replica identity: add those columns to the list"
		w.run("setup").fails(1, refusal)
		w.start().stop() // takes the table out, and publishes it without a list
		w.exec(`UPDATE users SET enabled = true; DELETE FROM users`)
		w.run("teardown", "--yes").done("dropped slot NAME\ndropped publication NAME\ndropped schema NAME\n")
		w.exec(`CREATE PUBLICATION other FOR TABLE users (id, username)`)
		w.run("setup").has("WARNING: publication other makes UPDATE or DELETE on public.users fail: its column list does not include the replica identity: add those columns to the list, or remove it from the publication")
		w.exec(fmt.Sprintf(`DROP PUBLICATION %s; DROP PUBLICATION other`, w.name))
	}
	w.exec(`ALTER TABLE users ADD COLUMN shout text GENERATED ALWAYS AS (upper(username)) STORED`)
	if clustertest.Cluster(t).Major < 18 {
		w.run("setup").has("publication NAME: created for 16 tables")
		return
	}
	const generated = `it makes UPDATE and DELETE of the application fail on public.users: its replica identity FULL includes a generated column that the publication does not publish: ` +
		`run ALTER TABLE "public"."users" REPLICA IDENTITY DEFAULT, which is sufficient with a primary key, or, if the column is stored, set publish_generated_columns = stored in the publication`
	w.run("setup").fails(1, "publication NAME: "+generated)
	if r := w.run("setup", "--print"); !strings.Contains(r.out, "\n-- PROBLEM: "+generated+"\n") || strings.Contains(r.out, "\nCREATE PUBLICATION") {
		t.Errorf("it prints what breaks the IAM:\n%s", r.out)
	}
	w.run("run").fails(1, "publication NAME: "+generated)
	w.run("check").has("✗ publication  NAME: " + generated)
	w.exec(`UPDATE users SET enabled = true`)
	w.exec(fmt.Sprintf(`CREATE PUBLICATION %s WITH (publish_generated_columns = stored)`, w.name))
	w.run("setup").has("publication NAME: updated, tables added: 16")
	w.exec(`UPDATE users SET enabled = true`)
}

// PostgreSQL 18 refuses also what a generated column does to replica identity FULL.
func TestCheck_GeneratedColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`CREATE TABLE generated (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)`)
	w.exec(`ALTER TABLE generated REPLICA IDENTITY FULL; CREATE PUBLICATION other FOR TABLE generated`)
	want := "✓ others       no publication makes the IAM's own UPDATE or DELETE fail"
	_, err := w.conn.Exec(t.Context(), `DELETE FROM generated`)
	if err != nil {
		want = "✗ others       publication other makes UPDATE or DELETE on public.generated fail: its replica identity FULL includes a generated column that is not published: use REPLICA IDENTITY DEFAULT, or remove it from the publication"
	}
	if major := clustertest.Cluster(t).Major; (err != nil) != (major >= 18) {
		t.Errorf("PostgreSQL %d: %v", major, err)
	}
	w.run("check").has(want)
}

func TestCheck_ThePublicationItself(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ sql, want string }{
		{"CREATE PUBLICATION NAME FOR ALL TABLES", `✗ publication  NAME: FOR ALL TABLES makes UPDATE and DELETE fail on every table without a primary key; run DROP PUBLICATION "NAME", then iam-relay setup`},
		{"CREATE PUBLICATION NAME FOR TABLE users WHERE (id <> '00000000-0000-0000-0000-000000000000')", `✗ publication  NAME: row filters on public.users hide changes; remove these tables from the publication and add them without a row filter`},
		{"CREATE PUBLICATION NAME FOR TABLE users (id, username)", `! publication  NAME: it has column lists on public.users; migrations that drop such a column fail, and mapped columns may be missing; remove the tables from it and add them again without`},
		{"CREATE PUBLICATION NAME FOR TABLE _sqlx_migrations", `! publication  NAME: it also publishes public._sqlx_migrations, which the mapping does not use; remove them from it`},
		{"CREATE PUBLICATION NAME FOR TABLE users WITH (publish = 'insert, update')", `— publication  NAME lacks mapped tables or operations; iam-relay run adds them`},
	} {
		w := newWorld(t)
		if listed := strings.Contains(test.sql, "("); listed && clustertest.Cluster(t).Major < 15 {
			continue // it has no column lists and no row filters
		}
		w.exec(strings.ReplaceAll(test.sql, "NAME", w.name))
		w.run("check").has(test.want)
	}
}

func TestCheck_SlotsOfOtherPrograms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, w.name)
	const foreign = "NAME exists, but this outbox has never read from it; drop it"
	w.run("check").has("✗ slot         " + foreign + " (SELECT pg_drop_replication_slot('NAME')) if it is unused, or choose another source.slot")
	w.run("run").fails(1, "slot NAME exists, but this outbox has never read from it: drop it, or choose another source.slot")
	w.dropSlot()

	w.start().stop()
	w.eventually(`SELECT FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`, w.name)
	w.run("check").has("✓ slot         NAME matches the stored position; not in use; SIZE not acknowledged, SIZE of WAL retained")
	w.dropSlot()
	const gone = "cannot resume from the stored position: slot NAME does not exist any more, and the changes since then are in no slot"
	w.run("check").has("! slot         " + gone + "; iam-relay run compares all tables with the mirror and emits the differences")
	w.run("status").fails(1, gone)
	w.amend(`publication = `, "reconcile = \"stop\"\npublication = ")
	r := w.run("check")
	r.has("✗ slot         " + gone + "; iam-relay reconcile compares all tables with the mirror and emits the differences")
	r.fails(1, "1 prerequisite is not met")
	w.run("run").fails(1, gone+`; source.reconcile is "stop": run iam-relay reconcile --dry-run to see the missed changes, and iam-relay reconcile to emit them`)
}

func TestCheck_TheOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	w.configure(w.as(role, password))
	missing := `schema NAME does not exist, and role ROLE may not create it; as the owner of the database, run: CREATE SCHEMA IF NOT EXISTS "NAME"; GRANT USAGE, CREATE ON SCHEMA "NAME" TO "ROLE"; or: GRANT CREATE ON DATABASE "NAME" TO "ROLE"`
	w.run("check").has("✗ outbox       " + missing)
	w.run("run").fails(1, `create schema NAME: permission denied for database NAME; as the owner of the database, run: CREATE SCHEMA IF NOT EXISTS "NAME"; GRANT USAGE, CREATE ON SCHEMA "NAME" TO "ROLE"; or: GRANT CREATE ON DATABASE "NAME" TO "ROLE"`)
	w.exec("CREATE SCHEMA " + w.name)
	const unusable = `role ROLE may not create tables in schema NAME; as the schema's owner, run: GRANT USAGE, CREATE ON SCHEMA "NAME" TO "ROLE"`
	w.run("check").has("✗ outbox       " + unusable)
	w.run("run").fails(1, unusable)
	w.exec(fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA %s TO %s; CREATE TABLE %s.event ()", w.name, role, w.name))
	w.run("check").has(`✗ outbox       tables of schema NAME belong to another role (event); as that role, run: ALTER TABLE … OWNER TO "ROLE"`)
	w.exec(fmt.Sprintf("DROP TABLE %s.event", w.name))

	w.configure(w.url)
	w.run("setup")
	w.run("check").has("✓ outbox       schema NAME of database NAME")
	w.exec(fmt.Sprintf("INSERT INTO %s.migration (number) VALUES (999)", w.name))
	w.run("check").has("✗ outbox       schema NAME was created by a newer iam-relay (migration 999, this version has 1); use that version")
}

func TestCheck_RowLevelSecurity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	w.exec(fmt.Sprintf("GRANT SELECT ON ALL TABLES IN SCHEMA public TO %s; ALTER TABLE users ENABLE ROW LEVEL SECURITY", role))
	w.configure(w.as(role, password))
	w.run("check").has(`✗ tables       public.users: row-level security hides rows from role ROLE, so the initial copy would miss them; ask an administrator to run: ALTER ROLE "ROLE" BYPASSRLS`)
}

func TestCheck_Endpoints(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { requests <- r }))
	t.Cleanup(receiver.Close)
	closed := freeAddress(t)
	w := newWorld(t)
	hook := func(name, url string, more ...string) string {
		return fmt.Sprintf("[[webhook]]\nname = %q\nurl = %q\nunsigned = true\n%s", name, url, strings.Join(more, "\n"))
	}
	w.configure(w.url, "[delivery]", "allow_http = true", `allow_networks = ["127.0.0.1/32"]`,
		hook("up", receiver.URL+"/token"), hook("down", "http://"+closed+"/token"), hook("plain", strings.Replace(receiver.URL, "http", "https", 1)+"/token"),
		hook("nowhere", "https://no-such-host.invalid/token"), hook("off", receiver.URL+"/token", "enabled = false"))
	w.replaces = append(w.replaces, closed, "CLOSED")
	iam := ferriskey.New(w.conn)
	realm, err := iam.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"internal": "https://10.1.2.3/token", "odd": "ftp://example.com/token"} {
		w.exec(`INSERT INTO webhooks (id, realm_id, name, secret, endpoint, created_at, updated_at, triggered_at) VALUES (gen_random_uuid(), $1, $2, 'a secret of sixteen bytes', $3, now(), now(), now())`, realm.ID, name, url)
	}
	w.run("setup")
	w.start().stop()
	r := w.run("check", "--endpoints")
	r.has("✓ endpoint     up: accepts connections", "✗ endpoint     down: connect to CLOSED: connection refused",
		"✗ endpoint     plain: TLS handshake: the server does not speak TLS on this port",
		"✗ endpoint     nowhere: look up no-such-host.invalid: no such host", "— endpoint     off: switched off")
	r.fails(1, "5 prerequisites are not met")
	if !strings.Contains(r.out, "10.1.2.3 is an internal or special-purpose address; to allow it, add its network to delivery.allow_networks") || !strings.Contains(r.out, "\n! webhooks") {
		t.Errorf("it does not warn of the IAM's webhooks that cannot be used:\n%s", r.out)
	}
	if strings.Contains(r.out, "/token") {
		t.Errorf("it prints what may be secret of a URL:\n%s", r.out)
	}
	if len(requests) > 0 {
		t.Error("something was sent")
	}
}

// What a mapping sends although it looks like a secret is shown; what it does not declare is refused.
func TestCheck_Secrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE users ADD COLUMN "inviteCode" text, ADD COLUMN preferences jsonb, ADD COLUMN enable_password bool`)
	file := filepath.Join(t.TempDir(), "own.toml")
	own := "extends = \"ferriskey\"\n[tables.users]\ncolumns = [\"username\", \"email\", \"email_verified\", \"enabled\", \"firstname\", \"lastname\", \"created_at\", \"updated_at\", " +
		"\"failed_login_attempts\", \"locked_until\", \"locale\", \"inviteCode\", \"preferences\", \"enable_password\"]\n"
	check := func() result {
		if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
		return w.run("check")
	}
	w.configure(w.url, "[mapping]", fmt.Sprintf("file = %q", file))
	w.replaces = append(w.replaces, file, "MAPPING")
	r := check()
	r.fails(1, "2 prerequisites are not met")
	r.has(`✗ tables       MAPPING:3: "inviteCode" of users looks like a secret; remove it, list it under hash to read only its SHA-256, or list it under public if it is not a secret`,
		`✗ tables       MAPPING:3: "preferences" of users is a document that may contain secrets; remove it, list it under hash to read only its SHA-256, or list it under public if it is not a secret`)
	own += "public = [\"inviteCode\", \"preferences\"]\n"
	check().has("! secrets      declared public in the mapping although they look like secrets: users.inviteCode, users.preferences; they are stored in the outbox and may be sent")
}

// The schema that a mapping file names is that of its tables.
func TestCheck_SchemaOfTheMapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER SCHEMA public RENAME TO iam; CREATE SCHEMA public`)
	file := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(file, []byte("extends = \"ferriskey\"\nschema = \"iam\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.run("check").has("✗ tables       public.users: does not exist; correct the schema and table names in the mapping, or mark the table optional")
	w.configure(w.url, "[mapping]", fmt.Sprintf("file = %q", file))
	w.run("check").has("✓ tables       16, with their keys and columns")
}

// An outbox in an encoding that lacks characters is refused with the remedy; a source in one is read.
func TestCheck_DatabaseInAnotherEncoding(t *testing.T) {
	t.Parallel()
	w := worldOn(t, clustertest.Cluster(t), clustertest.Encoded(t, "LATIN1"))
	const refusal = "database NAME has encoding LATIN1, which cannot store all characters of events and responses; " +
		"as an administrator, run: CREATE DATABASE iam_relay ENCODING 'UTF8' TEMPLATE template0; and name that database in outbox.url"
	r := w.run("check")
	r.has("✗ outbox       " + refusal)
	r.has("! source       server_encoding is LATIN1: the relay converts the texts of mapped columns to UTF-8; a byte that represents no character is sent as U+FFFD followed by its value in hex")
	w.run("run").fails(1, "the outbox: "+refusal)
}
