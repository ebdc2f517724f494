package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

// Each rule of a changed row is decided exactly once, with the reason.
func TestMapper_OnDecision(t *testing.T) {
	t.Parallel()
	const realm, user, other = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333"
	w := &world{t: t, schema: mappingtest.DefaultSchema(t)}
	w.mirrorRow("realms id=" + realm + " name=acme")
	w.mirrorRow("users id=" + user + " realm_id=" + realm + " username=mia enabled=t")
	w.start()
	var decisions []string
	w.mapper.OnDecision(func(d Decision) {
		text := fmt.Sprintf("%s %s: %s", d.Op, d.Rule.Event.Name, d.Outcome)
		if d.Parent != nil {
			text += " by " + d.Parent.Name()
		}
		if d.Tenant != "" {
			text += " in " + string(d.Tenant[:4])
		}
		decisions = append(decisions, text)
	})
	check := func(want string, lines ...string) {
		t.Helper()
		decisions = nil
		w.transaction(lines, true)
		if diff := cmp.Diff(strings.TrimSpace(want), strings.Join(decisions, "\n")); diff != "" {
			t.Errorf("%v (-want +got):\n%s", lines, diff)
		}
	}
	check(`
update user.email_verified: unchanged
update user.updated: fired in 1111`, "update users id="+user+" username=mira")
	check(`
update user.updated: unchanged
update user.email_verified: unchanged`, "update users id="+user+" failed_login_attempts=3")
	check(`
update user.updated: condition false
update user.email_verified: fired in 1111`, "update users id="+user+" email_verified=t")
	check(`insert user.created: fired in 1111`, "insert users id="+other+" realm_id="+realm+" username=leo")
	check(`
delete user.bulk_deleted: grouped in 1111
delete user.deleted: replaced in 1111
delete user.bulk_deleted: grouped in 1111
delete user.deleted: replaced in 1111`, "delete users id="+user, "delete users id="+other)
	check(`insert user.created: fired`, "insert users id="+user+" realm_id="+other+" username=lost")
	check(`
delete user.bulk_deleted: too few rows
delete user.deleted: fired`, "delete users id="+user)
}
