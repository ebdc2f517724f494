package cdc_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// No setting of a role or a database affects a session.
func TestConnect_IgnoresSettingsOfRoleAndDatabase(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	conn := connect(t, url)
	role := conn.Config().Database + "_hostile"
	if _, err := conn.Exec(t.Context(), "CREATE ROLE "+role+" LOGIN SUPERUSER"); err != nil {
		t.Fatal(err)
	}
	s := &source{t: t, conn: conn}
	t.Cleanup(func() { s.dropRole(role) })
	read := func(c *pgx.Conn) map[string]string {
		rows, err := c.Query(t.Context(), `SELECT name, setting FROM pg_settings WHERE context = 'user'`)
		if err != nil {
			t.Fatal(err)
		}
		settings := map[string]string{}
		var name, setting string
		if _, err := pgx.ForEachRow(rows, []any{&name, &setting}, func() error { settings[name] = setting; return nil }); err != nil {
			t.Fatal(err)
		}
		return settings
	}
	session := func() map[string]string {
		c, err := cdc.Connect(t.Context(), as(t, url, role))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(t.Context())
		return read(c)
	}
	before := session()
	database := conn.Config().Database
	clustertest.Hostile(t, conn, "ROLE "+role+" IN DATABASE "+database, "DATABASE "+database, "ROLE "+role)
	after := session()
	if after["synchronous_commit"] != "local" {
		t.Errorf("synchronous_commit is %q", after["synchronous_commit"])
	}
	delete(before, "synchronous_commit")
	delete(after, "synchronous_commit")
	diff(t, "settings", before, after)
	if after["statement_timeout"] != "60000" || after["search_path"] != "pg_catalog, pg_temp" {
		t.Errorf("statement_timeout %s, search_path %s", after["statement_timeout"], after["search_path"])
	}
	// A stronger setting than needed is kept.
	if _, err := conn.Exec(t.Context(), "ALTER ROLE "+role+" IN DATABASE "+conn.Config().Database+" SET synchronous_commit = remote_apply"); err != nil {
		t.Fatal(err)
	}
	if got := session()["synchronous_commit"]; got != "remote_apply" {
		t.Errorf("synchronous_commit is %q, want remote_apply", got)
	}
}
