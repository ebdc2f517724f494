package cdc_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// Values that the database considers equal have the same text. If that is impossible, the reference is a problem, or a warning
// if it affects some values only.
func TestReferenceChecks(t *testing.T) {
	t.Parallel()
	conn := connect(t, clustertest.Database(t))
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE EXTENSION citext`)
	exec(`CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`)
	exec(`CREATE DOMAIN slug AS citext; CREATE DOMAIN loosely AS text COLLATE loose; CREATE DOMAIN code AS char(4); CREATE TYPE colour AS ENUM ('red')`)
	for i, test := range []struct{ key, reference, problem, warning string }{
		{"text", "varchar(10)", "", ""},
		{"uuid", "uuid", "", ""},
		{"int", "bigint", "", ""},
		{"numeric(5,2)", "int", "", ""},
		{"float8", "float4", "", ""},
		{"char(4)", "varchar(9)", "", ""},
		{"code", "code", "", ""},
		{"uuid", "text", "", ""},
		{"text", "citext", "", ""},
		{"colour", "colour", "", ""},
		{"date", "date", "", ""},
		{"text", "uuid", "", "lower case"},
		{"int", "text", "", "another type"},
		{"int[]", "int[]", "", "not known"},
		{"citext", "citext", "citext", ""},
		{"slug", "slug", "citext", ""},
		{"citext", "text", "citext", ""},
		{`text COLLATE loose`, `text COLLATE loose`, "nondeterministic", ""},
		{"text", "loosely", "nondeterministic", ""},
		{"interval", "interval", "written differently", ""},
		{"jsonb", "jsonb", "written differently", ""},
		{"timestamp", "date", "another type", ""},
		{"inet", "cidr", "another type", ""},
	} {
		t.Run(test.key+" by "+test.reference, func(t *testing.T) {
			parents, children := fmt.Sprintf("parents%d", i), fmt.Sprintf("children%d", i)
			exec(fmt.Sprintf(`CREATE TABLE %s (id %s PRIMARY KEY); CREATE TABLE %s (id int PRIMARY KEY, parent %s)`, parents, test.key, children, test.reference))
			p := &cdc.Table{Schema: "public", Name: parents, Columns: []cdc.Column{{Name: "id"}}, KeyColumns: 1}
			c := &cdc.Table{Schema: "public", Name: children, Columns: []cdc.Column{{Name: "id"}, {Name: "parent", Parent: p}}, KeyColumns: 1}
			optional := *c
			optional.Columns = slices.Clone(c.Columns)
			optional.Columns[1].Optional = true
			for _, table := range []*cdc.Table{c, &optional} {
				catalog, err := cdc.ReadCatalog(t.Context(), conn, []*cdc.Table{p, table})
				if err != nil {
					t.Fatal(err)
				}
				problems, others := catalog.Problems(), catalog.Withheld()
				if table == &optional {
					problems, others = others, problems
				}
				said(t, "problem", problems, test.problem)
				said(t, "other problem", others, "")
				said(t, "warning", catalog.Warnings(), test.warning)
			}
		})
	}
}

func said(t *testing.T, what string, problems []cdc.Problem, want string) {
	t.Helper()
	switch {
	case want == "" && len(problems) > 0, want != "" && len(problems) != 1:
		t.Errorf("%ss: %v, want %q", what, problems, want)
	case want != "" && !strings.Contains(problems[0].String(), want):
		t.Errorf("%s: %s, want %q", what, problems[0], want)
	}
}
