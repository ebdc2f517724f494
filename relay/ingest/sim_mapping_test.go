package ingest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// simMapping has one example of each kind of rule.
const simMapping = `
tenant      = "realms"
tenant_name = "name"
root_tenant = "name == 'master'"

[tables.realms]
key     = ["id"]
columns = ["id", "name"]
events  = { "realm.created" = "insert", "realm.deleted" = "delete" }

[tables.users]
key     = ["id"]
parents = { realm_id = "realms" }
columns = ["id", "realm_id", "name", "note", "tags"]
collect = { tags = { table = "tags", by = "user_id", column = "label" } }
[tables.users.events]
"user.created"      = "insert"
"user.updated"      = { changed = ["realm_id", "name", "note"] }
"user.deleted"      = "delete"
"user.bulk_deleted" = { on = "delete", group = { min = 3 }, instead_of = ["user.deleted"], data = "id" }

[tables.tags]
key     = ["id"]
parents = { user_id = "users" }
columns = ["id", "user_id", "label"]

[tables.credentials]
key     = ["id"]
parents = { user_id = "users" }
columns = ["id", "user_id", "kind"]
[tables.credentials.events."credential.deleted"]
on              = "delete"
resource_id     = "user_id"
unless_followed = { on = "insert", same = ["user_id", "kind"], within = "5s" }

[tables.webhooks]
key     = ["id"]
parents = { realm_id = "realms" }
columns = ["id", "url"]

[tables.webhook_events]
key     = ["id"]
parents = { webhook_id = "webhooks" }
columns = ["id", "webhook_id", "name"]

[webhooks]
table  = "webhooks"
url    = "url"
events = { table = "webhook_events", column = "name", by = "webhook_id" }
`

// simCatalog has all tables, and all columns are texts.
type simCatalog map[string]*cdc.Relation

func (c simCatalog) Relation(t *cdc.Table) *cdc.Relation    { return c[t.Name] }
func (c simCatalog) Exists(*cdc.Table) bool                 { return true }
func (c simCatalog) OID(*cdc.Table) uint32                  { return 1 }
func (c simCatalog) AddedDefault(*cdc.Table, int) cdc.Value { return cdc.NullValue }
func (c simCatalog) table(name string) *cdc.Table           { return c[name].Table }
func (c simCatalog) bind(rules *mapping.Rules) (*mapping.Mapper, error) {
	var relations []*cdc.Relation
	for _, r := range c {
		relations = append(relations, r)
	}
	return mapping.Bind(rules, relations)
}

// loadSimMapping returns the mapping, and the tables that it names.
func loadSimMapping(t testing.TB) (*mapping.Rules, simCatalog) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mapping.toml")
	if err := os.WriteFile(file, []byte(simMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	rules, err := mapping.Load(mapping.Options{File: file})
	if err != nil {
		t.Fatal(err)
	}
	const textOID = 25
	catalog := simCatalog{}
	for _, table := range rules.Tables() {
		types := make([]uint32, len(table.Columns))
		for i := range types {
			types[i] = textOID
		}
		catalog[table.Name] = &cdc.Relation{Table: table, Types: types}
	}
	return rules, catalog
}
