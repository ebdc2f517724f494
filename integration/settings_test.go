package integration_test

import (
	"context"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// planted are objects of the names that the relay uses, in a schema in which everybody may create: each call, and each look
// into one of them, fails.
const planted = `
CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'the relay has used what was planted'; END $$;
CREATE FUNCTION public.concat_ws(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.concat_ws(text, oid, xid, oid, xid, oid, "char") RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.concat_ws(text, smallint, oid, xid, name) RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.array_agg(text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.current_setting(text, text) RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.pg_current_wal_lsn() RETURNS pg_lsn LANGUAGE sql AS 'SELECT public.trap()::text::pg_lsn';
CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT public.trap()::text::timestamptz';
CREATE FUNCTION public.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT public.trap()::text';
CREATE FUNCTION public.equals(text, name) RETURNS boolean LANGUAGE sql AS 'SELECT public.trap()';
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = name, FUNCTION = public.equals);
CREATE VIEW public.pg_class AS SELECT public.trap();
CREATE VIEW public.pg_namespace AS SELECT public.trap();
CREATE VIEW public.pg_attribute AS SELECT public.trap();
CREATE VIEW public.pg_publication AS SELECT public.trap();
CREATE VIEW public.pg_publication_tables AS SELECT public.trap();
CREATE VIEW public.pg_replication_slots AS SELECT public.trap();
CREATE VIEW public.pg_settings AS SELECT public.trap();
CREATE VIEW public.position AS SELECT public.trap();
CREATE VIEW public.event AS SELECT public.trap();
CREATE VIEW public.mirror AS SELECT public.trap()`

// Whatever a role or its database is set to, and whatever has been planted in a schema that its sessions would search, the
// relay copies, streams, compares and delivers.
func TestSettings_OfRoleAndDatabaseDoNotReachTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// More than statement_timeout lets pass, if it reached the copy.
	w.exec(`INSERT INTO users (id, realm_id, username, firstname, lastname, email, email_verified, enabled)
		SELECT gen_random_uuid(), $1, 'old-' || n, 'f', 'l', 'old-' || n || '@example.com', true, true FROM generate_series(1, 20000) n`, w.acme.ID)
	role := w.name + "_hostile"
	w.exec(`CREATE ROLE ` + role + ` LOGIN REPLICATION`)
	w.exec(`GRANT postgres TO ` + role)
	t.Cleanup(func() {
		// The database is dropped later, with what the role owns in it.
		if _, err := w.db.Exec(context.Background(), "REASSIGN OWNED BY "+role+" TO postgres; DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	w.exec(`CREATE SCHEMA ` + w.name + ` AUTHORIZATION ` + role)
	conn, err := pgx.Connect(t.Context(), w.url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	clustertest.Hostile(t, conn, "ROLE "+role+" IN DATABASE "+conn.Config().Database, "ROLE "+role)
	w.exec(planted)
	u, err := url.Parse(w.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(role)
	all := &account{}
	start(t, w.config().set("source.url", u.String()).webhook(w.hook, "/all"))
	for n := range 20 {
		w.createUser(all, n)
	}
	all.arrives(t, w.hook, "/all")
	// A catalogue change restarts the session, which compares the table.
	w.exec(`ALTER TABLE users ALTER COLUMN firstname TYPE text USING firstname || ''`)
	for n := range 5 {
		w.createUser(all, 100+n)
	}
	all.arrives(t, w.hook, "/all")
}
