package integration_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A condition that divides by what happens to be zero in a row does not hold there. It is logged once and counted, and nothing stops.
func TestCondition_WithoutAValueDoesNotStopTheRelay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "own.toml")
	own := `
extends = "ferriskey"
[tables.users.events."user.odd"]
on    = "insert"
when  = "10 % row.failed_login_attempts == 1"
`
	if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, w.config().set("mapping.file", file).webhook(w.hook, "/all", map[string]any{"events": []string{"user.*"}}))
	var users account
	for n := range 3 {
		w.createUser(&users, n)
	}
	users.arrives(t, w.hook, "/all")
	w.exec(`INSERT INTO users (id, realm_id, username, failed_login_attempts, created_at, updated_at) VALUES (gen_random_uuid(), $1, 'odd', 3, now(), now())`, w.acme.ID)
	w.until("the condition holds where it can be computed", `SELECT count(*) = 1 FROM relay.event WHERE name = 'user.odd'`)
	p.metric(`iam_relay_condition_failures_total{table="users"} 3`)
	printed, _ := p.log.read()
	if n := strings.Count(printed, "a condition of the mapping cannot be computed"); n != 1 {
		t.Errorf("it is logged %d times:\n%s", n, printed)
	}
	p.waitFor(within(t), `file=`+file+` line=5 table=users condition="10 % row.failed_login_attempts == 1" reason="division by zero`)
}
