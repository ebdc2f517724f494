package cdc_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// dropRole removes a role that the test has created. The database with its grants is dropped later.
func (s *source) dropRole(role string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := s.conn.Exec(ctx, "RESET ROLE; DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
		s.t.Error(err)
	}
}

func publication(t *testing.T, conn *pgx.Conn, name string, tables []*cdc.Table) cdc.Publication {
	t.Helper()
	p, err := cdc.PublicationStatus(t.Context(), conn, name, tables)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEnsurePublication_CreatesAndExtends(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	missing := &cdc.Table{Schema: "public", Name: "missing", Columns: columns("id"), KeyColumns: 1, Optional: true}
	before := publication(t, conn, "p", mapped[:2])
	diff(t, "SQL", []string{`CREATE PUBLICATION "p" FOR TABLE ONLY "public"."users", ONLY "public"."user_role";`}, before.SQL())
	if _, err := cdc.EnsurePublication(t.Context(), conn, "p", mapped[:2]); err != nil {
		t.Fatal(err)
	}
	made := publication(t, conn, "p", mapped[:2])
	if sql := made.SQL(); !made.Exists || sql != nil || made.Owner != "postgres" || made.Problems() != nil {
		t.Errorf("publication %+v needs %q", made, sql)
	}
	tables := append(slices.Clone(mapped[1:]), missing)
	grown, err := cdc.EnsurePublication(t.Context(), conn, "p", tables)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "extra tables", []string{"public.users"}, grown.Extra)
	if grown.Missing != nil {
		t.Errorf("publication %+v is missing tables", grown)
	}
	same, err := cdc.EnsurePublication(t.Context(), conn, "p", tables)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "unchanged publication", grown, same)
}

func TestPublicationStatus(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	modern := clustertest.Cluster(t).Major >= 15
	for _, test := range []struct {
		make     string
		modern   bool // needs PostgreSQL 15
		want     cdc.Publication
		sql      []string
		problems int
	}{
		{
			make: "CREATE PUBLICATION p FOR ALL TABLES",
			want: cdc.Publication{AllTables: true, Extra: []string{"public.audit", "public.foreign_table", "public.user_role"}}, problems: 1,
		},
		{
			make: "CREATE PUBLICATION p FOR TABLE users WITH (publish = 'insert, delete')",
			want: cdc.Publication{Unpublished: []string{"update", "truncate"}},
			sql:  []string{`ALTER PUBLICATION "p" SET (publish = 'insert, update, delete, truncate');`},
		},
		{
			make: "CREATE PUBLICATION p FOR TABLES IN SCHEMA public", modern: true,
			want:     cdc.Publication{Schemas: []string{"public"}, Extra: []string{"public.audit", "public.foreign_table", "public.user_role"}},
			problems: 1,
		},
		{
			make: "CREATE PUBLICATION p FOR TABLE users (id, name), foreign_table WHERE (id > 1)", modern: true,
			want:     cdc.Publication{Extra: []string{"public.foreign_table"}, ColumnLists: []string{"public.users"}, RowFilters: []string{"public.foreign_table"}},
			problems: 1,
		},
		{
			make: "CREATE PUBLICATION p",
			want: cdc.Publication{Missing: []*cdc.Table{users}},
			sql:  []string{`ALTER PUBLICATION "p" ADD TABLE ONLY "public"."users";`},
		},
	} {
		t.Run(test.make, func(t *testing.T) {
			if test.modern && !modern {
				t.Skip("needs PostgreSQL 15")
			}
			if _, err := conn.Exec(t.Context(), "DROP PUBLICATION IF EXISTS p; "+test.make); err != nil {
				t.Fatal(err)
			}
			got := publication(t, conn, "p", []*cdc.Table{users})
			diff(t, "SQL", test.sql, got.SQL())
			if problems := got.Problems(); len(problems) != test.problems {
				t.Errorf("problems %q, want %d", problems, test.problems)
			}
			test.want.Name, test.want.Exists, test.want.Owner = "p", true, "postgres"
			if test.want.Unpublished == nil {
				test.want.Unpublished = []string{}
			}
			diff(t, "publication", test.want, got)
		})
	}
}

func TestEnsurePublication_PermissionError(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	role := s.config.Slot + "_role"
	s.exec("CREATE ROLE "+role+" LOGIN REPLICATION", "SET ROLE "+role)
	t.Cleanup(func() { s.dropRole(role) })
	_, err := cdc.EnsurePublication(t.Context(), s.conn, "mine", mapped)
	permission, ok := errors.AsType[*cdc.PermissionError](err)
	if !ok {
		t.Fatalf("got error %v, want a PermissionError", err)
	}
	diff(t, "SQL", []string{`CREATE PUBLICATION "mine" FOR TABLE ONLY "public"."users", ONLY "public"."user_role", ONLY "public"."audit";`}, permission.SQL)
	if !strings.Contains(err.Error(), permission.SQL[0]) {
		t.Errorf("error %q does not show the SQL", err)
	}
	s.exec("RESET ROLE")
	s.exec(permission.SQL...)
	if p := publication(t, s.conn, "mine", mapped); p.SQL() != nil {
		t.Errorf("publication %+v still needs %q", p, p.SQL())
	}
}
