package command_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

func TestFailure_UnreachableDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("postgres://relay:" + password + "@127.0.0.1:1/iam?sslmode=disable")
	const reason = "nothing is listening on 127.0.0.1:1; check host and port in the URL, and that the server is running"
	w.run("run").fails(1, "connect to the outbox: "+reason)
	w.run("setup").fails(1, "connect to the source: "+reason)
	w.run("status").fails(1, "connect to the outbox: "+reason)
	w.run("teardown").fails(1, "connect to the source: "+reason)
	r := w.run("check")
	r.fails(1, "2 prerequisites are not met")
	r.has("✗ outbox       connect to the outbox: "+reason, "✗ source       connect to the source: "+reason)
}

func TestFailure_UnknownHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure("postgres://relay:" + password + "@no-such-host.invalid/iam")
	w.run("run").fails(1, `connect to the outbox: cannot resolve host "no-such-host.invalid"; check it in the URL`)
}

// The driver passes a parameter that it does not know to the server as a setting, whose refusal does not say where that came from.
func TestFailure_UnknownParameter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const reason = `unrecognized configuration parameter "pool_timeouts"; correct or remove the parameter in the URL (a parameter unknown to the client is sent to the server as a setting)`
	w.configure(w.url + "&pool_timeouts=1")
	w.run("status").fails(1, "connect to the outbox: "+reason)
	w.run("setup").fails(1, "connect to the source: "+reason)
}

// A password with an @ that is not encoded would otherwise be repeated as a part of the host.
func TestFailure_PasswordWithAt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const reason = "has more than one @ before the host; write an @ in the user or password as %40"
	w.run("setup", "--url", "postgres://relay:x@"+password+"@127.0.0.1:1/iam").fails(1, "connect to the source: the URL "+reason)
}

func TestFailure_TLS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(strings.Replace(w.as("postgres", password), "sslmode=disable", "sslmode=require", 1))
	w.run("run").fails(1, "connect to the outbox: TLS with 127.0.0.1:PORT failed: server refused TLS connection; check sslmode and sslrootcert in the URL, and ssl and ssl_cert_file of the server")
	w.run("setup", "--url", "postgres://relay:"+password+"@db/iam?sslrootcert=/nowhere.pem").fails(2,
		"the URL: invalid connection string; use postgres://user@host:5432/database, and check that the files it names exist")
}

func TestFailure_UnknownDatabase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(w.url + "&dbname=nowhere")
	w.run("run").fails(1, `connect to the outbox: database "nowhere" does not exist; check the database name in the URL`)
}

func TestFailure_BadConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(w.url, "[delivery]", "timeout = 5", "retries = 3")
	const (
		first  = `CONFIG:11: delivery.timeout: must be a duration with its unit in quotes, such as "5s", not a number`
		second = "CONFIG:12: delivery.retries: unknown option; remove it"
	)
	for _, command := range []string{"run", "setup", "status", "teardown"} {
		w.run(command).fails(2, first+"\n"+second)
	}
	r := w.run("check")
	r.prints("✗ config       " + first + "\n✗ config       " + second + "\n")
	r.fails(1, "2 prerequisites are not met")
}

func TestFailure_MisspeltEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(w.url, "[[webhook]]", `name = "crm"`, `url = "https://crm.example.com/"`, `unsigned = true`, `events = ["user.craeted"]`)
	w.run("run").fails(2, `CONFIG:14: webhook[0].events: event pattern "user.craeted" matches no event; did you mean "user.created"?`)
}

func TestFailure_Mapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.configure(w.url, "[mapping]", `preset = "keycloak"`)
	w.run("run").fails(2, `CONFIG:11: mapping.preset: unknown preset "keycloak"; known: ferriskey`)
	w.configure(w.url, "[mapping]", `drop = ["user.craeted"]`)
	w.run("run").fails(2, `CONFIG:11: mapping.drop: lists the unknown event "user.craeted"; did you mean "user.created"?`)
	w.configure(w.url, "[mapping]", `file = "/nowhere/mine.toml"`)
	w.run("run").fails(2, "/nowhere/mine.toml: cannot be read: no such file or directory")
	w.run("check").has("✗ mapping      /nowhere/mine.toml: cannot be read: no such file or directory")
}

func TestFailure_NoConfiguration(t *testing.T) {
	t.Parallel()
	run(t, "run", "--config", "nowhere.toml").fails(2, "nowhere.toml: cannot be read: no such file or directory; run iam-relay init to create it")
}

func TestFailure_CommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"rum"}, `unknown command "rum"; did you mean "run"?`},
		{[]string{"run", "now"}, `unexpected argument "now"; see iam-relay run --help`},
		{[]string{"presets", "ferriskei"}, `unknown preset "ferriskei"; did you mean "ferriskey"?; iam-relay presets lists them`},
	} {
		run(t, test.arguments...).fails(2, test.want)
	}
}

func TestFailure_MissingTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("DROP TABLE credentials; ALTER TABLE users DROP COLUMN lastname CASCADE")
	want := `table public.users, column lastname: does not exist; correct the mapping, or mark the column optional
table public.credentials: does not exist; correct the schema and table names in the mapping, or mark the table optional`
	w.run("run").fails(1, want)
	w.run("setup").fails(1, want)
	r := w.run("check")
	r.has("✗ tables       public.users, column lastname: does not exist; correct the mapping, or mark the column optional",
		"✗ tables       public.credentials: does not exist; correct the schema and table names in the mapping, or mark the table optional")
	r.fails(1, "2 prerequisites are not met")
}

func TestFailure_MissingGrant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	w.configure(w.as(role, password))
	w.exec(fmt.Sprintf("CREATE SCHEMA %s AUTHORIZATION %s; GRANT SELECT ON ALL TABLES IN SCHEMA public TO %s; REVOKE SELECT ON user_role FROM %s", w.name, role, role, role))
	const table = `public.user_role: the role cannot read "id", "user_id", "role_id", "ctid", which the initial copy needs; GRANT SELECT ("id", "user_id", "role_id", "ctid") ON "public"."user_role" TO the relay's role`
	w.run("run").fails(1, "table "+table)
	r := w.run("check")
	r.has("✗ tables       " + strings.Replace(table, "the relay's role", `"ROLE"`, 1))
	r.fails(1, "2 prerequisites are not met") // the publication is not there either, and the role cannot create it
	w.exec(fmt.Sprintf("REVOKE SELECT ON users FROM %s", role))
	w.run("check").has(`✗ tables       role ROLE cannot read 2 of 16 mapped tables (public.users, public.user_role); as their owner, run: iam-relay setup --url URL-OF-THE-OWNER-OF-THE-TABLES, or psql with the output of iam-relay setup --print; see them all with iam-relay check --verbose`)
	if r := w.run("check", "--verbose"); strings.Count(r.out, "✗ tables       public.") != 2 {
		t.Errorf("it says:\n%s", r.out)
	}
}

func TestFailure_RoleMayNotReplicate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("")
	w.run("setup").done("wal_level is logical\npublication NAME: created for 16 tables\nschema NAME: created or upgraded\n")
	w.exec(fmt.Sprintf("DROP SCHEMA %s CASCADE; CREATE SCHEMA %s AUTHORIZATION %s; GRANT SELECT ON ALL TABLES IN SCHEMA public TO %s", w.name, w.name, role, role))
	w.configure(w.as(role, password))
	refusal := "permission denied to start WAL sender"
	if clustertest.Cluster(t).Major < 16 {
		refusal = "must be superuser or replication role to start walsender"
	}
	w.run("run").fails(1, "create slot NAME: "+refusal+"; run ALTER ROLE \"ROLE\" REPLICATION (on managed services: grant the provider's replication role)")
	r := w.run("check")
	const advice = `role ROLE may not replicate; ask an administrator to run: ALTER ROLE "ROLE" REPLICATION (on Amazon RDS: GRANT rds_replication TO "ROLE")`
	r.has("✗ replication  " + advice)
	r.fails(1, "1 prerequisite is not met")
	w.run("setup").fails(1, advice)
}

func TestFailure_ReadOnlyOutbox(t *testing.T) {
	t.Parallel()
	c, url := startCluster(t, cluster.Options{})
	standby, err := c.Standby(t.Context(), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Close(); err != nil {
			t.Error(err)
		}
	})
	w := worldOn(t, c, url)
	w.write(url, standby.URL("ferriskey_db"), "")
	const reason = "database NAME is read-only for role postgres: if it is a standby, set outbox.url to the primary"
	w.run("run").fails(1, "outbox "+reason)
	w.run("check").has("✗ outbox       " + reason)
}

// startCluster starts a server for one test.
func startCluster(t *testing.T, o cluster.Options) (*cluster.Cluster, string) {
	t.Helper()
	c := clustertest.Server(t, o)
	if err := c.CreateDatabase(t.Context(), "ferriskey_db"); err != nil {
		t.Fatal(err)
	}
	return c, c.URL("ferriskey_db")
}

func TestFailure_WrongPasswordAndWALLevel(t *testing.T) {
	t.Parallel()
	c, url := startCluster(t, cluster.Options{
		Settings: map[string]string{"wal_level": "replica"}, HBA: []string{"host all guarded 127.0.0.1/32 scram-sha-256"},
	})
	w := worldOn(t, c, url)
	w.exec("CREATE ROLE guarded LOGIN PASSWORD 'another'")

	w.configure(w.as("guarded", password))
	const reason = `the server rejected user "guarded": password authentication failed for user "guarded"; check user and password in the URL, and that pg_hba.conf allows the role to connect to database "NAME"`
	w.run("run").fails(1, "connect to the outbox: "+reason)
	w.run("setup").fails(1, "connect to the source: "+reason)
	w.run("status").fails(1, "connect to the outbox: "+reason)

	w.configure(url)
	const level = "the server's wal_level is replica; run ALTER SYSTEM SET wal_level = 'logical' and restart the server (managed services have a parameter for it)"
	w.run("setup").fails(1, level)
	w.exec("ALTER SYSTEM SET wal_level = 'logical'")
	w.run("setup").fails(1, "the server's wal_level is set to logical but still replica; restart the server")
	w.exec("ALTER SYSTEM RESET wal_level")
	w.run("run").fails(1, "the server's wal_level is replica; set wal_level = logical in its configuration and restart it")
	r := w.run("check")
	r.has("✗ wal_level    " + level)
	r.fails(1, "1 prerequisite is not met")
}

func TestFailure_FullSlots(t *testing.T) {
	t.Parallel()
	c, url := startCluster(t, cluster.Options{Settings: map[string]string{"max_replication_slots": "1"}})
	w := worldOn(t, c, url)
	w.exec("SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
	w.run("run").fails(1, "create slot NAME: ERROR: all replication slots are in use (SQLSTATE 53400); raise max_replication_slots (requires a server restart) or drop an unused slot")
	r := w.run("check")
	r.has("✗ slots        all replication slots (1) are in use; raise max_replication_slots (needs a restart) or drop an unused slot")
	r.fails(1, "1 prerequisite is not met")
}
