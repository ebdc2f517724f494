package engine

import (
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

var conditionTests = []struct {
	condition string
	want      bool
}{
	{"row.username == 'alice'", true},
	{"old.username == 'bob' and old != nil", true},
	{"row.email_verified", true},
	{"not row.enabled", true},
	{"row.failed_login_attempts > 2 and row.failed_login_attempts + 1 < 5", true},
	{"row.firstname == nil", true},
	{"row.firstname != nil", false},
	{"row.firstname == 'x'", false},
	{"row.firstname != 'x'", true},
	{"row.firstname == row.lastname", true},
	{"len(row.firstname) > 0", false},
	{"len(row.firstname) == 0", false},
	{"lower(row.email) endsWith '@x'", true},
	{"row.firstname contains 'x'", false},
	{"not (row.firstname startsWith 'x')", true},
	{"row.firstname matches '^x'", false},
	{"row.firstname in ['a', 'b']", false},
	{"row.firstname not in ['a', 'b']", true},
	{"row.username in ['alice']", true},
	{"row.firstname > 'a' or row.username > 'a'", true},
	{"changed('username')", true},
	{"changed('lastname', 'realm_id')", false},
	{"parent('realm_id').name == 'acme'", true},
	{"parent('realm_id') != nil", true},
	{"parent('client_id') == nil", true},
	{"parent('client_id').name == 'x'", false},
	{"parent('client_id').enabled", false},
	{"parent('client_id').name != 'x'", true},
	{"row.firstname == nil ? row.email_verified : false", true},
	{`row["username"] == "alice"`, true},
	{"(row.firstname ?? 'x') == 'x'", true},
	{"len(row.firstname ?? '') < 1", true},
	{"(row.firstname ?? row.lastname) == 'x'", false},
	{"(row.username ?? row.lastname) == 'alice'", true},
	{"(parent('client_id').enabled ?? true) and row.email_verified", true},
	{"(row.email_verified ? row.username : row.firstname) == 'alice'", true},
	{"lower(row.enabled ? row.firstname : row.username) == 'alice'", true},
	{"(row.email_verified ? lower(row.firstname) : 'x') == 'x'", false},
}

// TestCondition_Values covers the values of conditions, above all with nulls: a null in a row must not make evaluation fail.
func TestCondition_Values(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("realms id=@a1 name=acme")
	r := w.relation("users")
	row := w.row(r, "id=@e1 realm_id=@a1 username=alice email=Alice@X failed_login_attempts=3 email_verified=t", nil)
	old := w.row(r, "id=@e1 realm_id=@a1 username=bob", nil)
	for _, test := range conditionTests {
		t.Run(test.condition, func(t *testing.T) {
			c, err := language.CompileCondition(test.condition, rules.Position{}, w.rules.ByName["users"], false)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.TypeCheck(w.mapper.binding); err != nil {
				t.Fatal(err)
			}
			tx := w.mapper.Begin(Commit{}, &fetched{w: w, mirror: w.mirror, anything: true})
			change := rowChange{bound: w.mapper.binding.ByCDC[r.Table], op: cdc.Update, row: row, old: old}
			w.mapper.findDifferences(change)
			var failed []rules.ConditionFailure
			w.mapper.OnConditionFailure(func(f rules.ConditionFailure) { failed = append(failed, f) })
			w.mapper.eval.Scope = tx.scope(change)
			if got := w.mapper.eval.Holds(c); got != test.want || failed != nil {
				t.Errorf("got %t, %v; want %t", got, failed, test.want)
			}
		})
	}
}
