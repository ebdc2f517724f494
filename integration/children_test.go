package integration_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

const attributesOfUsers = `
[tables.users]
children.attributes = { table = "user_attributes", by = "user_id", object = { key = "key", value = "value", multi = true } }

[tables.users.events]
"user.attributes.changed" = { changed = ["attributes"], data = ["attributes"] }

[tables.user_attributes]
key     = ["id"]
parents = { user_id = "users", realm_id = "realms" }
columns = ["key", "value"]
`

// A changed attribute is one update of its user, also if a save rewrites all attributes under new keys, and also if it is found
// by a reconciliation. A save that changes nothing is no event.
func TestChildren_AttributesAreRewritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var users, a account
	user := w.createUser(&users, 1)
	cfg := w.config().webhook(w.hook, "/all", map[string]any{"events": []string{"user.attributes.changed"}}).set("mapping.file", mappingFile(t, attributesOfUsers)).set("mapping.preset", "")
	save := func(pairs string) { // as an IAM does that does not compare
		err := pgx.BeginFunc(t.Context(), w.db, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `DELETE FROM user_attributes WHERE user_id = $1`, user); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), `INSERT INTO user_attributes (user_id, realm_id, key, value)
				SELECT $1, $2, split_part(pair, '=', 1), split_part(pair, '=', 2) FROM unnest(string_to_array($3, ' ')) pair`, user, w.acme.ID, pairs)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, cfg)
	save("city=Bern dept=x")
	a.add(expect("user.attributes.changed", user, w.acme.ID))
	save("dept=x city=Bern")
	save("lang=de dept=y")
	a.add(expect("user.attributes.changed", user, w.acme.ID))
	got := a.arrives(t, w.hook, "/all")
	if body := string(got[1].Body); !strings.HasSuffix(body, `"data":{"attributes":{"dept":["y"],"lang":["de"]}}}`) {
		t.Errorf("got %s", body)
	}
	p.stop()
	save("dept=y lang=de") // the net difference is nothing
	w.lose(dropSlot)
	p = start(t, cfg)
	w.caughtUp()
	p.stop()
	save("lang=de dept=z")
	w.lose(dropSlot)
	start(t, cfg)
	a.add(expect("user.attributes.changed", user, w.acme.ID))
	got = a.arrives(t, w.hook, "/all")
	if reconciled, _ := reconciledOf(got); len(reconciled) != 1 || !strings.Contains(string(reconciled[0].Body), `"dept":["z"]`) {
		t.Errorf("%d events are marked as reconciled, want one with the new attribute", len(reconciled))
	}
}
