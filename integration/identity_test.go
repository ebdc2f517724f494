package integration_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// Two relays that read the same log through slots and outboxes of their own make the same events, with the same ids and the
// same bytes, though they group the transactions into commits as it happens.
func TestIdentity_DependsOnTheWALAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.config().webhook(w.hook, "/first")
	other := *w
	other.name = w.name + "_other"
	second := other.config().webhook(w.hook, "/second").set("outbox.batch", 3)
	start(t, first)
	start(t, second).stop() // it will read a backlog
	var a account
	for i := range 50 {
		w.createUser(&a, i)
	}
	w.exec(`UPDATE users SET firstname = username WHERE realm_id = $1`, w.acme.ID) // 50 events of one transaction
	for _, e := range a.expected[:50] {
		a.add(expect("user.updated", e.Resource, e.Realm))
	}
	role, err := w.iam.CreateRole(t.Context(), w.acme.ID, "operator", ferriskey.ViewUsers)
	if err != nil {
		t.Fatal(err)
	}
	a.add(expect("role.created", role, w.acme.ID))
	start(t, second)
	got := byID(a.arrives(t, w.hook, "/first"))
	if diff := cmp.Diff(got, byID(a.arrives(t, w.hook, "/second"))); diff != "" {
		t.Errorf("the two differ (-first +second):\n%s", diff)
	}
	if len(got) != a.len() {
		t.Errorf("%d ids for %d events", len(got), a.len())
	}
	w.audit()
	other.audit()
}
