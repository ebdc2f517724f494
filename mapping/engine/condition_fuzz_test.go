package engine

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// fuzzedRow derives the value of each column from a byte: of any kind, with or without the syntax of the column's type.
func fuzzedRow(r *cdc.Relation, data []byte) cdc.Row {
	row := make(cdc.Row, len(r.Columns))
	texts := []string{"", "0", "1", "-1", "t", "f", "alice", "9223372036854775807", "99999999999999999999", "NaN", "1e999", "\xff", "{a}", long("@a1"), strings.Repeat("x", 1000)}
	for i := range row {
		if i >= len(data) {
			continue
		}
		row[i].Kind = cdc.Kind(data[i] & 3)
		if row[i].Kind == cdc.Text {
			row[i].Text = texts[int(data[i]>>2)%len(texts)]
		}
	}
	return row
}

// FuzzCondition checks that an expression is either refused or can be evaluated quickly for every row, with null, absent and
// unknown values, and always with the same result.
func FuzzCondition(f *testing.F) {
	for _, condition := range []string{
		"row.username == 'alice'", "not row.enabled", "old != nil and old.username != row.username", "changed('email', 'username')",
		"parent('realm_id').name matches '^a+$'", "parent('client_id') == nil ? row.enabled : row.email_verified",
		"row.failed_login_attempts + 1 > 2 * -row.failed_login_attempts", "row.failed_login_attempts % 2 == 0", "row.failed_login_attempts / 0 > 1",
		"len(row.firstname ?? '') < 1", "lower(row.email) in ['a', upper(row.username)]", "(row.firstname ?? row.lastname) contains trim(' x')",
		"row?.username == nil", "row['username'] == \"x\"", "row.username[0:1] == 'a'", "'a'..'b' == nil", "[row.enabled, 1] == [true, 1]",
		"row.failed_login_attempts ** 999 > 1.5", "let x = row.enabled; x", "all([1], # > 0)", "row.username matches '('", "row.email == row", "$env == nil", "((((row.enabled))))",
		"row.username + row.email == 'x'", "row.created_at > '2026-01-01'", "!(row.enabled ?? false) || true", "len(row.username) / len(row.email) > 1",
	} {
		f.Add(condition, []byte("\x03\x07\x02\x0b\x01\x02\x00\x17\x13"), []byte("\x03\x07\x1b"))
		f.Add(condition, []byte{}, []byte("\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02\x02"))
	}
	w := &world{t: f, schema: mappingtest.DefaultSchema(f)}
	w.start()
	// Evaluation may fail for these reasons only. conditionCheck must refuse anything else.
	expected := regexp.MustCompile(`division by zero|out of range|longer than`)
	w.mapper.OnConditionFailure(func(failure rules.ConditionFailure) {
		if !expected.MatchString(failure.Reason) {
			panic(failure.String())
		}
	})
	w.mirrorRow("realms id=@a1 name=acme")
	w.mirrorRow("clients id=@a1 realm_id=@a1 name=app client_type=public")
	r := w.relation("users")
	f.Fuzz(func(t *testing.T, text string, now, before []byte) {
		began := time.Now()
		for _, bare := range []bool{false, true} {
			c, err := language.CompileCondition(text, rules.Position{}, w.rules.ByName["users"], bare)
			if err != nil || c.TypeCheck(w.mapper.binding) != nil {
				continue
			}
			row, old := fuzzedRow(r, now), fuzzedRow(r, before)
			for _, change := range []rowChange{{op: cdc.Insert, row: row}, {op: cdc.Update, row: row, old: old}, {op: cdc.Delete, row: row, old: row}} {
				change.bound = w.mapper.binding.ByCDC[r.Table]
				tx := w.mapper.Begin(Commit{}, mappingtest.AnyRows{Mirror: w.mirror})
				if change.op == cdc.Update {
					w.mapper.findDifferences(change)
				}
				w.mapper.eval.Scope = tx.scope(change)
				first := w.mapper.eval.Holds(c)
				if second := w.mapper.eval.Holds(c); second != first {
					t.Errorf("%s: first %t, then %t", change.op, first, second)
				}
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("evaluation took %s", took)
		}
	})
}
