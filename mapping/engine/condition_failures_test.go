package engine

import (
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// A condition that cannot be evaluated is false and is reported.
func TestCondition_EvaluationFails(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	r := w.relation("users")
	row := w.row(r, "id=@e1 realm_id=@a1 username=alice email=a failed_login_attempts=0", nil)
	row[r.Index("email")] = cdc.TextValue(strings.Repeat("a", 1<<20))
	old := w.row(r, "id=@e1 realm_id=@a1 username=b failed_login_attempts=9223372036854775807", nil)
	const n, most = "row.failed_login_attempts", "old.failed_login_attempts"
	for condition, reason := range map[string]string{
		"5 % " + n + " == 0":                        "division by zero",
		"not (5 % " + n + " == 0)":                  "division by zero",
		"5 / " + n + " > 1":                         "division by zero",
		"5 % len(row.username[0:0] ?? '') == 0":     "refused",
		"1 % (" + n + " * 3) == 0 or row.enabled":   "division by zero",
		most + " + 1 > 0":                           "out of range",
		most + " * 2 > 0":                           "out of range",
		"-" + most + " - 2 < 0":                     "out of range",
		"0 - " + most + " - 2 < 0":                  "out of range",
		most + " * -3 < 0":                          "out of range",
		most + " ** 99 > 1.5":                       "out of range",
		"row.email + row.email == 'x'":              "longer than",
		"len(row.email + row.username) > 3":         "longer than",
		"row.email matches '^(a?){1000}$'":          "longer than",
		"row.username in [row.email + row.email]":   "longer than",
		"5 % (" + n + " == 0 ? " + n + " : 1) == 0": "division by zero",
	} {
		t.Run(condition, func(t *testing.T) {
			c, err := language.CompileCondition(condition, rules.Position{File: "my.toml", Line: 7}, w.rules.ByName["users"], false)
			if err != nil && reason == "refused" {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := c.TypeCheck(w.mapper.binding); err != nil {
				t.Fatal(err)
			}
			var failures []rules.ConditionFailure
			w.mapper.OnConditionFailure(func(f rules.ConditionFailure) { failures = append(failures, f) })
			tx := w.mapper.Begin(Commit{}, &fetched{w: w, mirror: w.mirror, anything: true})
			change := rowChange{bound: w.mapper.binding.ByCDC[r.Table], op: cdc.Update, row: row, old: old}
			w.mapper.findDifferences(change)
			w.mapper.eval.Scope = tx.scope(change)
			began := time.Now()
			if w.mapper.eval.Holds(c) {
				t.Error("the condition is true")
			}
			if len(failures) != 1 || !strings.Contains(failures[0].Reason, reason) || failures[0].Table != "users" || failures[0].Line != 7 || failures[0].Condition != condition {
				t.Errorf("reported: %v, want one with %q", failures, reason)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("evaluation took %s", took)
			}
		})
	}
}

// Operations that can never be evaluated are refused when the mapping is loaded.
func TestLoad_ConditionsThatCannotBeEvaluated(t *testing.T) {
	t.Parallel()
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.start()
	for condition, want := range map[string]string{
		"row.failed_login_attempts % 0 == 1":           "division by zero",
		"row.failed_login_attempts / 0.0 > 1":          "division by zero",
		"row.failed_login_attempts / -0 > 1":           "division by zero",
		"row.failed_login_attempts in 1..1000000000":   "a range needs two whole numbers",
		"1 in 1..row.failed_login_attempts":            "a range needs two whole numbers",
		"row.failed_login_attempts in 5..1":            "a range needs two whole numbers",
		"row.username matches '('":                     "missing closing )",
		"row.username matches '(a{1000}){1000}'":       "repeat count",
		"row.username matches row.email":               "must be a string",
		"repeat(row.username, 1000000000) == 'x'":      "unknown function",
		"row.username[99] == 'x'":                      "write a column as row.NAME",
		"[1, 2][row.failed_login_attempts] == 1":       "write a column as row.NAME",
		"int(row.username) == 1":                       "unknown function",
		"fromJSON(row.username) == 1":                  "unknown function",
		"all(1..10, # > row.failed_login_attempts)":    "unknown function",
		"row.username | split(',') == nil":             "",
		"let x = row.username; x + x == 'x'":           "may only",
		"row.failed_login_attempts in 1..10":           "-",
		"row.failed_login_attempts * 9 % 7 / 2.5 > -1": "-",
	} {
		_, err := language.CompileCondition(condition, rules.Position{}, w.rules.ByName["users"], false)
		switch {
		case want == "-" && err != nil:
			t.Errorf("%s: %v", condition, err)
		case want != "-" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", condition, err, want)
		}
	}
}
