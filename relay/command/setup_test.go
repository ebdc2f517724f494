package command_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// pretend configures a role that does not exist yet.
func (w *world) pretend() (role string) {
	role = w.name + "_new"
	w.configure(w.as(role, password))
	return role
}

func (w *world) runSQL(conn *pgx.Conn, sql string) {
	w.t.Helper()
	if _, err := conn.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatalf("%v in:\n%s", err, sql)
	}
}

// worksWith runs the relay as its role, and wants a change to become an event.
func (w *world) worksWith(role string) {
	w.t.Helper()
	w.exec("REVOKE CREATE ON SCHEMA public FROM PUBLIC") // as it is from PostgreSQL 15 on
	relay := w.start()
	iam := ferriskey.New(w.conn)
	if _, err := iam.Bootstrap(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.eventually(fmt.Sprintf(`SELECT FROM %s.event WHERE name = 'realm.created'`, w.name))
	r := w.run("check")
	r.has("✓ slot         NAME matches the stored position; in use; SIZE not acknowledged, SIZE of WAL retained")
	if r.code != 0 {
		w.t.Errorf("check:\n%s%s", r.out, r.err)
	}
	relay.stop()
	for _, forbidden := range []string{"SELECT secret_data FROM credentials", "INSERT INTO realms DEFAULT VALUES", "CREATE TABLE public.mine ()"} {
		conn, err := pgx.Connect(w.t.Context(), w.as(role, password))
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := conn.Exec(w.t.Context(), forbidden); err == nil || !strings.Contains(err.Error(), "42501") {
			w.t.Errorf("role %s runs %q: %v", role, forbidden, err)
		}
		conn.Close(w.t.Context())
	}
}

func TestSetupPrint_WithoutDatabase_IsEnoughForTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.pretend()
	r := w.run("setup", "--print", "--url", "postgres://127.0.0.1:1/iam")
	if want := "iam-relay: printed without the state of the database: connect to the source: nothing is listening on 127.0.0.1:1; check host and port in the URL, and that the server is running\n"; r.code != 0 || r.err != want {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	w.runSQL(w.conn, strings.ReplaceAll(r.out, "NAME", w.name))
	w.forget(role)
	w.exec(fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, password))
	// The optional tables are in this database: what was commented out for them is what check asks for.
	missing := w.run("check")
	missing.has(`✗ publication  NAME lacks mapped tables or operations; ask role postgres, which owns the publication, to run: ALTER PUBLICATION "NAME" ADD TABLE ONLY "public"."email_templates", ONLY "public"."user_required_actions", ONLY "public"."password_reset_tokens", ONLY "public"."post_logout_redirect_uris", ONLY "public"."client_web_origins", ONLY "public"."device_auth_sessions";`)
	for line := range strings.Lines(strings.ReplaceAll(r.out, "NAME", w.name)) {
		if sql, ok := strings.CutPrefix(line, "-- "); ok && (strings.HasPrefix(sql, "GRANT SELECT") || strings.HasPrefix(sql, "ALTER PUBLICATION")) {
			if _, err := w.conn.Exec(t.Context(), sql); err != nil && !strings.Contains(err.Error(), "42703") { // a column of a newer version
				t.Fatalf("%v in:\n%s", err, sql)
			}
		}
	}
	w.worksWith(role)
}

func TestSetupPrint_RunByTheOwner_IsEnoughForTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.pretend()
	r := w.run("setup", "--print", "--url", w.url)
	if r.code != 0 || r.err != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.err)
	}
	w.runSQL(w.conn, strings.ReplaceAll(r.out, "NAME", w.name))
	w.forget(role)
	w.exec(fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, password))
	w.worksWith(role)

	again := w.run("setup", "--print", "--url", w.url)
	if strings.Contains(again.out, "CREATE ROLE") || strings.Contains(again.out, "PUBLICATION \"") || strings.Contains(again.out, "\nGRANT") {
		t.Errorf("it prints again what is there:\n%s", again.out)
	}
	w.runSQL(w.conn, strings.NewReplacer("ROLE", role, "NAME", w.name).Replace(again.out))
}

func TestSetup_ForASeparateRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.pretend()
	w.replaces = append([]string{role, "ROLE"}, w.replaces...)
	w.run("setup", "--url", w.url).fails(1, `role ROLE does not exist; ask an administrator to run CREATE ROLE "ROLE" LOGIN REPLICATION, give it a password (in psql: \password ROLE), and run setup again`)
	w.replaces = w.replaces[2:]
	role = w.role("")
	w.configure(w.as(role, password))
	w.exec("REVOKE CONNECT ON DATABASE " + w.name + " FROM PUBLIC")
	w.run("setup").fails(1, `connect to the source: permission denied for database "NAME"; ask the owner of the database to run: GRANT CONNECT ON DATABASE "NAME" TO "ROLE"`)
	w.run("setup", "--url", w.url).done(`wal_level is logical
publication NAME: has all mapped tables
role ROLE: may replicate, connect, and read the mapped columns
schema NAME: created or upgraded
`)
	w.run("setup", "--url", w.url).done(`wal_level is logical
publication NAME: has all mapped tables
role ROLE: may replicate, connect, and read the mapped columns
schema NAME: up to date
`)
	w.run("setup").done("wal_level is logical\npublication NAME: has all mapped tables\nschema NAME: up to date\n")
	w.worksWith(role)
}

func TestSetup_WithTheOwnersConnectionInTheConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	w.run("setup", "--role", role).done(`wal_level is logical
publication NAME: created for 16 tables
role ROLE: may replicate, connect, and read the mapped columns
schema NAME: role ROLE creates its tables when it runs
`)
	w.configure(w.as(role, password))
	w.worksWith(role)
}

func TestSetup_WithoutTheRightsOfTheOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	w.exec("GRANT SELECT ON ALL TABLES IN SCHEMA public TO " + role)
	w.configure(w.as(role, password))
	for _, command := range []string{"setup", "run"} {
		if command == "run" {
			w.exec(fmt.Sprintf("CREATE SCHEMA %s AUTHORIZATION %s", w.name, role))
		}
		r := w.run(command)
		const want = "iam-relay: create or alter publication NAME: ERROR: permission denied for database NAME (SQLSTATE 42501); ask the owner of the tables to run: CREATE PUBLICATION \"NAME\" FOR TABLE ONLY \"public\"."
		if r.code != 1 || !strings.HasPrefix(r.err, want) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%s: exit code %d, stderr %q", command, r.code, r.err)
		}
	}
}

// The owner of the IAM's tables is usually not a superuser. Objects that an administrator created must not prevent it from granting
// what an upgrade of the IAM has added.
func TestSetup_RepeatedByAnOwnerWithoutSuperuser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("REPLICATION")
	owner := w.name + "_owner"
	w.exec(fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", owner, password))
	w.forget(owner)
	w.replaces = append([]string{owner, "OWNER"}, w.replaces...)
	w.exec(fmt.Sprintf(`DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT c.oid FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('ALTER TABLE %%s OWNER TO %s', t); END LOOP; END $$`, owner))
	w.exec(fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s; ALTER SCHEMA public OWNER TO %s", w.name, owner, owner))
	w.configure(w.as(role, password))

	asOwner := w.as(owner, password)
	w.run("setup", "--url", asOwner).done(`wal_level is logical
publication NAME: created for 16 tables
role ROLE: may replicate, connect, and read the mapped columns
schema NAME: created or upgraded
`)

	w.exec(fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE users; REVOKE SELECT (email) ON users FROM %s", w.name, role))
	r := w.run("setup", "--print", "--url", asOwner)
	if r.code != 0 || r.err != "" {
		t.Fatalf("exit code %d, stderr %q", r.code, r.err)
	}
	conn, err := pgx.Connect(t.Context(), asOwner)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	w.runSQL(conn, strings.NewReplacer("ROLE", role, "NAME", w.name).Replace(r.out))
	w.worksWith(role)

	w.exec(fmt.Sprintf("ALTER PUBLICATION %s OWNER TO postgres; ALTER PUBLICATION %s DROP TABLE users", w.name, w.name))
	w.run("setup", "--url", asOwner).fails(1, `create or alter publication NAME: ERROR: must be owner of publication NAME (SQLSTATE 42501); ask role postgres, which owns the publication, to run: ALTER PUBLICATION "NAME" ADD TABLE ONLY "public"."users";`)
}

func TestSetup_AfterAMigrationOfTheIAM(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("ALTER TABLE client_web_origins RENAME TO not_yet_there")
	w.run("setup").done("wal_level is logical\npublication NAME: created for 15 tables\nschema NAME: created or upgraded\n")
	w.exec("ALTER TABLE not_yet_there RENAME TO client_web_origins")
	w.run("setup").done("wal_level is logical\npublication NAME: updated, tables added: 1\nschema NAME: up to date\n")
}

// An older FerrisKey lacks the optional tables and columns of the mapping.
func TestSetup_OnAnOlderSchema(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`DROP TABLE email_templates, user_required_actions, password_reset_tokens, post_logout_redirect_uris, client_web_origins,
		device_auth_sessions CASCADE`)
	w.exec(`ALTER TABLE users DROP COLUMN failed_login_attempts, DROP COLUMN locked_until`)
	w.exec(`ALTER TABLE clients DROP COLUMN maintenance_enabled, DROP COLUMN maintenance_reason, DROP COLUMN maintenance_session_strategy`)
	w.run("setup").done("wal_level is logical\npublication NAME: created for 10 tables\nschema NAME: created or upgraded\n")
	w.run("check").has("✓ tables       10, with their keys and columns; of the optional ones, email_templates, user_required_actions, password_reset_tokens, post_logout_redirect_uris, client_web_origins, device_auth_sessions are not in this database")
	w.start()
	w.exec(`INSERT INTO realms (id, name) VALUES (gen_random_uuid(), 'old')`)
	w.eventually(`SELECT FROM ` + w.name + `.event WHERE name = 'realm.created'`)
}
