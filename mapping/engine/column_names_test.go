package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// oddNames lists column names that look like parts of the mapping language, or that need quotes in SQL.
var oddNames = []string{
	"a.b", "x as y", "null", "true", "row", "old", "tenant", "7", "'quoted'", "[]", "{}", `double"quote`, "uuid(id)", "fk.*", "ünïcode", "Upper Case", " spaced ",
	"select", "$env", "nil", "changed", "é.ü as ö", "name as", "-1", "*", strings.Repeat("n", 63),
}

// oddNamesMapping uses a column, in quotes, wherever a mapping can name one.
const oddNamesMapping = `
tenant = "orgs"
tenant_name = %[1]s
root_tenant = '''row[%[1]s] == "yes"'''
[tables.orgs]
key = ["id"]
columns = [%[4]s]
[tables.people]
key = [%[1]s, "id"]
parents = { "the.org" = "orgs" }
columns = ["n"]
[tables.notes]
key = ["id"]
parents = { "the.org" = "orgs" }
columns = [%[4]s, "n"]
ignore = ["n"]
optional_columns = [%[1]s]
omit_null = [%[1]s]
deleted = '''row[%[1]s] == "gone"'''
data = ["id", %[1]s, %[2]s, %[3]s]
[tables.notes.format]
%[1]s = { null = "none" }
[tables.notes.events."note.saved"]
on = ["insert", "update"]
when = '''row[%[1]s] == "yes" and old == nil or changed(%[1]s) and parent("the.org")[%[1]s] == "yes"'''
resource_id = %[1]s
[tables.people.events."person.created"]
on = "insert"
resource_id = %[1]s
data = %[1]s
`

// A column may have any name that PostgreSQL allows, wherever the mapping refers to it.
func TestLoad_ColumnsWithAnyName(t *testing.T) {
	t.Parallel()
	for _, name := range oddNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := strconv.Quote(name)
			listed := q
			if strings.Contains(name, " as ") { // Under columns, it would rename the column x to y.
				listed = strconv.Quote(`"` + name + `"`)
			}
			own := fmt.Sprintf(oddNamesMapping, q, strconv.Quote(name+" as renamed"), strconv.Quote("the.org."+name+" as of_parent"), listed)
			file := filepath.Join(t.TempDir(), "own.toml")
			if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
				t.Fatal(err)
			}
			text := func(name string) mappingtest.Column {
				return mappingtest.Column{Name: name, Kind: "text", Nullable: true}
			}
			id := mappingtest.Column{Name: "id", Kind: "uuid", Nullable: false}
			w := &world{t: t, options: language.Options{File: file}, schema: mappingtest.Schema{
				"orgs": {id, text(name)}, "people": {text(name), id, {Name: "the.org", Kind: "uuid"}, text("n")}, "notes": {id, {Name: "the.org", Kind: "uuid"}, text(name), text("n")},
			}}
			w.start()
			orgs, notes := w.relation("orgs"), w.relation("notes")
			w.mirror.Put(orgs.Table, cdc.Row{cdc.TextValue("o1"), cdc.TextValue("yes")})
			row := make(cdc.Row, len(notes.Columns))
			for column, value := range map[string]string{"id": "n1", "the.org": "o1", name: "yes", "n": "1"} {
				row[notes.Index(column)] = cdc.TextValue(value)
			}
			tx := w.mapper.Begin(Commit{}, mappingtest.AnyRows{Mirror: w.mirror})
			changes := []cdc.Change{{Op: cdc.Insert, Relation: notes, Key: "n1", New: row}}
			tx.Observe(changes)
			var bodies []string
			if err := tx.Map(changes, func(e Event) error {
				bodies = append(bodies, e.Resource+" "+e.TenantName+" "+string(e.Body[strings.Index(string(e.Body), `"data":`):]))
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			want := `yes yes "data":{"id":"n1",` + string(value.AppendString(nil, name)) + `:"yes","renamed":"yes","of_parent":"yes"}}`
			if len(bodies) != 1 || bodies[0] != want {
				t.Errorf("events %q, want %s", bodies, want)
			}
			if !w.mapper.IsRootTenant(w.mirror.Get(orgs.Table, "o1")) {
				t.Error("root_tenant is false")
			}
		})
	}
}
