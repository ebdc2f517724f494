package integration_test

import (
	"slices"
	"testing"

	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

// The life of a realm, written in FerrisKey's own statements, comes out as its documents say: each documented event, each that
// newer versions have, and no other.
func TestStory_EachEventAsItIsDocumented(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := start(t, w.config().webhook(w.hook, "/all"))
	var a account
	// The story makes a realm "acme" of its own.
	if err := w.iam.DeleteRealm(t.Context(), w.acme); err != nil {
		t.Fatal(err)
	}
	a.add(expect("realm.deleted", w.acme.ID, w.acme.ID))
	w.exec(`DELETE FROM clients WHERE id = $1`, w.acme.ManagementClient)
	a.add(expect("client.deleted", w.acme.ManagementClient, w.iam.Master.ID))
	const path = "/of-the-realm"
	names := slices.Concat(ferriskey.Documented, ferriskey.Newer)
	for _, step := range ferriskey.Story(w.iam, ferriskey.Webhook{Endpoint: w.hook.URL(path), Name: "story", Events: names}) {
		expected, err := step.Do(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", step.Name, err)
		}
		a.add(expected...)
	}
	got := a.arrives(t, w.hook, "/all")
	for _, name := range names {
		if !slices.ContainsFunc(a.expected, func(e ferriskey.Expected) bool { return e.Event == name }) {
			t.Errorf("the story has nothing of %s", name)
		}
	}
	w.sameAsStored(w.db, got)
	p.stop()
	w.audit()
}
