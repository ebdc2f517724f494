package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

const otherProduct = `
tenant = false

[tables."auth.users"]
key     = ["id"]
columns = ["name"]
events  = { "user.created" = "insert", "user.renamed" = { changed = ["name"] } }

[tables.memberships]
key     = ["user_id", "team"]
parents = { user_id = "auth.users" }
events  = { "member.added" = "insert", "member.removed" = { on = "delete", resource_id = "{team}:{user_id}" } }
`

// A product with integer keys, keys of several columns, tables in two schemas, and no tenants: its events reach a webhook of
// all tenants, also those that a reconciliation finds.
func TestOtherProducts_NoTenantsAndTwoSchemas(t *testing.T) {
	t.Parallel()
	url := clustertest.Database(t)
	w := &world{t: t, url: url, name: fmt.Sprintf("relay_%d", worlds.Add(1)), hook: startReceiver(t)}
	w.db = connect(t, url)
	w.exec(`CREATE SCHEMA auth; CREATE TABLE auth.users (id int PRIMARY KEY, name text);
		CREATE TABLE memberships (user_id int REFERENCES auth.users ON DELETE CASCADE, team text, PRIMARY KEY (user_id, team));
		INSERT INTO auth.users VALUES (1, 'alice')`)
	file := filepath.Join(t.TempDir(), "mapping.toml")
	if err := os.WriteFile(file, []byte(otherProduct), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := w.config().set("mapping.preset", "").set("mapping.file", file).webhook(w.hook, "/all")
	p := start(t, cfg)
	var a account
	w.exec(`INSERT INTO auth.users VALUES (2, 'bob'); INSERT INTO memberships VALUES (1, 'staff'), (2, 'staff')`)
	w.exec(`UPDATE auth.users SET name = 'carol' WHERE id = 1`)
	a.add(expect("user.created", "2", "default"), expect("member.added", "1/staff", "default"), expect("member.added", "2/staff", "default"), expect("user.renamed", "1", "default"))
	a.arrives(t, w.hook, "/all")
	p.stop()
	w.exec(`DELETE FROM memberships WHERE user_id = 2`)
	w.lose(dropSlot)
	start(t, cfg)
	a.add(expect("member.removed", "staff:2", "default"))
	a.arrives(t, w.hook, "/all")
}
