package command_test

import (
	"encoding/json"
	"testing"
)

// A dry run of a change to a webhook says what it would do, and does nothing.
func TestWebhooks_DryRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run("setup")
	w.webhooks("add", "--name", "a", "--url", "https://a.example.com")
	before := w.stored()
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"remove", "a"}, "webhook a (relay:4294967296) would be removed; its outstanding deliveries are still sent\n"},
		{[]string{"rotate", "a", "--grace", "0s"}, "webhook a (relay:4294967296) would be signed with a new secret only\n"},
		{[]string{"rotate", "a"}, "webhook a (relay:4294967296) would be signed with a new secret, and with the old ones until TIME\n"},
		{[]string{"update", "a", "--description", "x"}, "webhook a (relay:4294967296) would be changed\n"},
		{
			[]string{"update", "a", "--tenant", "acme"},
			"webhook a (relay:4294967296) would be changed; with another tenant it is a new webhook: deliveries that webhook 4294967296 was waiting for are dropped\n",
		},
	} {
		r := w.webhooks(test.arguments[0], append(test.arguments[1:], "--dry-run")...)
		if r.out = steady(r.out); r.code != 0 || r.out != test.want {
			t.Errorf("%q: exit code %d, %s%s", test.arguments, r.code, r.out, r.err)
		}
	}
	w.webhooks("update", "a", "--rate", "-1", "--dry-run").fails(2, "rate must be between 0 (no limit) and 1000000 requests per second")
	if w.stored() != before {
		t.Error("a dry run changes the outbox")
	}
}

// Scripts get the state and the fix of each prerequisite.
func TestCheck_JSON(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE users DROP COLUMN lastname CASCADE`)
	r := w.run("check", "--json")
	var results []struct{ Name, State, Text, Fix string }
	if err := json.Unmarshal([]byte(r.out), &results); err != nil {
		t.Fatalf("%v in %s", err, r.out)
	}
	r.fails(1, "1 prerequisite is not met")
	states := map[string]int{}
	for _, one := range results {
		states[one.State]++
		if one.State == "failed" && (one.Name != "tables" || one.Fix != "correct the mapping, or mark the column optional") {
			t.Errorf("it says %+v", one)
		}
	}
	if states["ok"] == 0 || states["failed"] != 1 || states["warning"] == 0 || states["pending"] == 0 {
		t.Errorf("states %v", states)
	}
}
