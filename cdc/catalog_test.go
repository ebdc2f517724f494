package cdc_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// catalogSchema has a table for each kind of problem.
const catalogSchema = `
	CREATE TABLE good (id int PRIMARY KEY, a text);
	CREATE TABLE pair (a int, b int, c int, PRIMARY KEY (b, a));
	CREATE TABLE keyless (id int, a text);
	CREATE TABLE full_identity (id int UNIQUE NOT NULL, a text); ALTER TABLE full_identity REPLICA IDENTITY FULL;
	CREATE TABLE by_index (id int NOT NULL UNIQUE, a text); ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_id_key;
	CREATE TABLE nothing (id int PRIMARY KEY, a text); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
	CREATE TABLE other_key (pk int PRIMARY KEY, id int UNIQUE NOT NULL, a text);
	CREATE TABLE twins (id int NOT NULL, a text); ALTER TABLE twins REPLICA IDENTITY FULL;
	CREATE TABLE nearly (id int NOT NULL, a text, UNIQUE (id) DEFERRABLE, UNIQUE (id, a)); ALTER TABLE nearly REPLICA IDENTITY FULL;
	CREATE UNIQUE INDEX ON nearly (id) WHERE a IS NULL; CREATE UNIQUE INDEX ON nearly (abs(id));
	CREATE TABLE covering (id int NOT NULL, a text); ALTER TABLE covering REPLICA IDENTITY FULL; CREATE UNIQUE INDEX ON covering (id) INCLUDE (a);
	CREATE TABLE nullable (id int UNIQUE, a text); ALTER TABLE nullable REPLICA IDENTITY FULL;
	CREATE DOMAIN named AS text NOT NULL; CREATE TABLE domain_key (id named UNIQUE, a text); ALTER TABLE domain_key REPLICA IDENTITY FULL;
	CREATE TABLE late (id int PRIMARY KEY DEFERRABLE, a text); CREATE UNIQUE INDEX ON late (id);
	CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY, a text);
	CREATE TABLE parted (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
	CREATE VIEW seen AS SELECT * FROM good;
	CREATE TABLE generated (id int PRIMARY KEY, a text GENERATED ALWAYS AS (id || 'x') STORED)`

func TestCatalog_Problems(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	conn := connect(t, url)
	_, err := conn.Exec(t.Context(), catalogSchema)
	if err != nil {
		t.Fatal(err)
	}
	table := func(name string, optional bool, names ...string) *cdc.Table {
		return &cdc.Table{Schema: "public", Name: name, Columns: columns(names...), KeyColumns: 1, Optional: optional}
	}
	pair := table("pair", false, "a", "b", "c")
	pair.KeyColumns = 2
	optional := table("good", false, "id", "later")
	optional.Columns[1].Optional = true
	tests := []struct {
		name  string
		table *cdc.Table
		want  []cdc.Problem // without the fix
	}{
		{"good", table("good", false, "id", "a"), nil},
		{"pair", pair, nil},
		{"part of a key", table("pair", false, "a", "c"), []cdc.Problem{{Table: "public.pair", Text: "two rows may have the same key (a): no unique index consists of key columns only"}}},
		{"no unique index", table("twins", false, "id", "a"), []cdc.Problem{{Table: "public.twins", Text: "two rows may have the same key (id): no unique index consists of key columns only"}}},
		{"unique at times", table("nearly", false, "id", "a"), []cdc.Problem{{Table: "public.nearly", Text: "two rows may have the same key (id): no unique index consists of key columns only"}}},
		{"index with more columns", table("covering", false, "id", "a"), nil},
		{"full", table("full_identity", false, "id", "a"), nil},
		{"nullable key", table("nullable", false, "id", "a"), []cdc.Problem{{Table: "public.nullable", Column: "id", Text: "is a nullable key column, and a row without a key cannot be identified"}}},
		{"key of a domain", table("domain_key", false, "id", "a"), nil},
		{"deferrable key", table("late", false, "id", "a"), []cdc.Problem{{Table: "public.late", Text: "its primary key is deferrable, so PostgreSQL does not use it as replica identity: while the table is published, UPDATE and DELETE fail"}}},
		{"index", table("by_index", false, "id", "a"), nil},
		{"optional table", table("missing", true, "id"), nil},
		{"optional column", optional, nil},
		{"missing table", table("missing", false, "id"), []cdc.Problem{{Table: "public.missing", Text: "does not exist"}}},
		{"missing column", table("good", false, "id", "later"), []cdc.Problem{{Table: "public.good", Column: "later", Text: "does not exist"}}},
		{"no key", table("keyless", false, "id"), []cdc.Problem{{Table: "public.keyless", Text: "its replica identity (DEFAULT) does not include the key column id, so the WAL does not identify updated and deleted rows"}}},
		{"identity nothing", table("nothing", false, "id"), []cdc.Problem{{Table: "public.nothing", Text: "its replica identity (NOTHING) does not include the key column id, so the WAL does not identify updated and deleted rows"}}},
		{"another key", table("other_key", false, "id"), []cdc.Problem{{Table: "public.other_key", Text: "its replica identity (DEFAULT) does not include the key column id, so the WAL does not identify updated and deleted rows"}}},
		{"unlogged", table("unlogged", false, "id"), []cdc.Problem{{Table: "public.unlogged", Text: "is unlogged or temporary, so its changes are not in the WAL"}}},
		{"partitioned", table("parted", false, "id"), []cdc.Problem{{Table: "public.parted", Text: "is not an ordinary table"}}},
		{"view", table("seen", false, "id"), []cdc.Problem{{Table: "public.seen", Text: "is not an ordinary table"}}},
		{"generated column", table("generated", false, "id", "a"), []cdc.Problem{{Table: "public.generated", Column: "a", Text: "is generated, and generated columns are not in the WAL"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			catalog, err := cdc.ReadCatalog(t.Context(), conn, []*cdc.Table{test.table})
			if err != nil {
				t.Fatal(err)
			}
			problems := catalog.Problems()
			for i := range problems {
				if problems[i].Fix == "" {
					t.Errorf("problem %q has no fix", problems[i])
				}
				problems[i].Fix = ""
			}
			diff(t, "problems", test.want, problems)
			if missing := catalog.Relation(test.table) == nil; missing != (test.table.Name == "missing") {
				t.Errorf("the relation is missing: %t", missing)
			}
		})
	}
}

func TestCatalog_MissingPrivileges(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	role := s.config.Slot + "_role"
	s.exec("CREATE ROLE "+role+" LOGIN", "REVOKE ALL ON SCHEMA public FROM public", "GRANT SELECT (id, name) ON users TO "+role, "SET ROLE "+role)
	t.Cleanup(func() { s.dropRole(role) })
	catalog, err := cdc.ReadCatalog(t.Context(), s.conn, []*cdc.Table{users})
	if err != nil {
		t.Fatal(err)
	}
	want := []cdc.Problem{
		{Table: "public.users", Text: "the role has no USAGE on its schema", Fix: `GRANT USAGE ON SCHEMA "public" TO the relay's role`},
		{Table: "public.users", Text: `the role cannot read "bio", "ctid", which the initial copy needs`, Fix: `GRANT SELECT ("bio", "ctid") ON "public"."users" TO the relay's role`},
	}
	diff(t, "problems", want, catalog.Problems())
}

// Privilege functions read the current catalog. A table or column that a migration drops at that moment is not reported as a
// missing privilege, but as a reason to try again.
func TestReadCatalog_ConcurrentDrop(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	for name, migration := range map[string]string{"column": `ALTER TABLE %s DROP COLUMN a`, "table": `DROP TABLE %s`} {
		conn, other := connect(t, url), connect(t, url)
		exec := func(conn *pgx.Conn, sql string) {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		docs := &cdc.Table{Schema: "public", Name: "docs_" + name, Columns: columns("id", "a"), KeyColumns: 1}
		exec(other, `CREATE TABLE `+docs.Name+` (id int PRIMARY KEY, a text)`)
		exec(conn, `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_namespace`)
		exec(other, fmt.Sprintf(migration, docs.Name))
		if _, err := cdc.ReadCatalog(t.Context(), conn, []*cdc.Table{docs}); !errors.Is(err, cdc.ErrCatalogChanged) || !cdc.IsTransient(err) {
			t.Errorf("%s dropped: %v, transient: %t", name, err, cdc.IsTransient(err))
		}
		exec(conn, `ROLLBACK`)
		if _, err := cdc.ReadCatalog(t.Context(), conn, []*cdc.Table{docs}); err != nil {
			t.Errorf("%s dropped, looked up again: %v", name, err)
		}
	}
}

// Tables of the same name in several schemas are distinguished.
func TestReadCatalog_SameNameInTwoSchemas(t *testing.T) {
	t.Parallel()
	conn := connect(t, clustertest.Database(t))
	if _, err := conn.Exec(t.Context(), `CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.users (id int PRIMARY KEY); CREATE TABLE b.users (id text PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	tables := []*cdc.Table{{Schema: "a", Name: "users", Columns: []cdc.Column{{Name: "id"}}, KeyColumns: 1}, {Schema: "b", Name: "users", Columns: []cdc.Column{{Name: "id"}}, KeyColumns: 1}}
	catalog, err := cdc.ReadCatalog(t.Context(), conn, tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if r := catalog.Relation(table); r == nil || r.Table != table {
			t.Errorf("the relation of %s.users is %v", table.Schema, r)
		}
	}
}
