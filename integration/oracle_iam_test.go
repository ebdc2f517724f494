package integration_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// oracleSchema is an IAM with several tenants, written for the oracle: tables that belong to a tenant directly, over one and
// over two parents, a column whose values are stored out of line, an optional column, an optional table, and webhooks.
const oracleSchema = `
	CREATE TABLE orgs (id text PRIMARY KEY, title text NOT NULL);
	CREATE TABLE people (id text PRIMARY KEY, org text NOT NULL REFERENCES orgs ON DELETE CASCADE, name text NOT NULL, level integer NOT NULL,
		big text, note text, seen integer NOT NULL DEFAULT 0);
	ALTER TABLE people ALTER COLUMN big SET STORAGE EXTERNAL;
	CREATE TABLE teams (id text PRIMARY KEY, org text NOT NULL REFERENCES orgs ON DELETE CASCADE, name text NOT NULL);
	CREATE TABLE members (person text NOT NULL REFERENCES people ON DELETE CASCADE, team text NOT NULL REFERENCES teams ON DELETE CASCADE,
		since text NOT NULL, PRIMARY KEY (person, team));
	CREATE TABLE hooks (id text PRIMARY KEY, org text NOT NULL REFERENCES orgs ON DELETE CASCADE, url text NOT NULL, secret text NOT NULL,
		active boolean NOT NULL);
	CREATE TABLE hook_events (id bigserial PRIMARY KEY, hook text NOT NULL REFERENCES hooks ON DELETE CASCADE ON UPDATE CASCADE, pattern text NOT NULL);
	CREATE INDEX ON people (org); CREATE INDEX ON teams (org); CREATE INDEX ON members (team); CREATE INDEX ON hooks (org);
	CREATE INDEX ON hook_events (hook);`

const oracleBadges = `CREATE TABLE badges (id text PRIMARY KEY, person text NOT NULL REFERENCES people ON DELETE CASCADE, label text NOT NULL)`

// oracleMapping maps it. What must come of it is written down a second time in oracleEntities and between, which share
// nothing with the code that reads this.
const oracleMapping = `
tenant = "orgs"

[tables.orgs]
key     = ["id"]
columns = ["title"]

[tables.people]
key              = ["id"]
parents          = { org = "orgs" }
columns          = ["name", "level", "big", "note"]
optional_columns = ["note"]

[tables.teams]
key     = ["id"]
parents = { org = "orgs" }
columns = ["name"]

[tables.members]
key     = ["person", "team"]
parents = { person = "people", team = "teams" }
columns = ["since"]
tenant  = "team"

[tables.badges]
optional = true
key      = ["id"]
parents  = { person = "people" }
columns  = ["label"]

[tables.hooks]
key     = ["id"]
parents = { org = "orgs" }
columns = ["url", "active"]
secrets = ["secret"]
deleted = "not active"

[tables.hook_events]
key     = ["id"]
parents = { hook = "hooks" }
columns = ["pattern"]

[webhooks]
table  = "hooks"
url    = "url"
name   = "id"
secret = "secret"
events = { table = "hook_events", column = "pattern", by = "hook" }
`

// oracleEntity says what the rows of a table are called in events, and what an event shows of them.
type oracleEntity struct {
	name     string
	columns  []string
	parents  map[string]string // table by column
	resource string            // the column of the resource_id
	verbs    [3]string         // of insert, update and delete; empty where there is no event
}

var oracleEntities = map[string]oracleEntity{
	"orgs":    {"org", []string{"id", "title"}, nil, "id", [3]string{"created", "updated", "deleted"}},
	"people":  {"person", []string{"id", "org", "name", "level", "big", "note"}, map[string]string{"org": "orgs"}, "id", [3]string{"created", "updated", "deleted"}},
	"teams":   {"team", []string{"id", "org", "name"}, map[string]string{"org": "orgs"}, "id", [3]string{"created", "updated", "deleted"}},
	"members": {"member", []string{"person", "team", "since"}, map[string]string{"person": "people", "team": "teams"}, "person", [3]string{"added", "", "removed"}},
	"badges":  {"badge", []string{"id", "person", "label"}, map[string]string{"person": "people"}, "person", [3]string{"given", "changed", "taken"}},
}

// oracleEvents is the mapping's second half.
func oracleEvents() string {
	var b strings.Builder
	for _, table := range slices.Sorted(maps.Keys(oracleEntities)) {
		e := oracleEntities[table]
		for i, on := range []string{"insert", "update", "delete"} {
			if e.verbs[i] != "" {
				fmt.Fprintf(&b, "\n[tables.%s.events.%q]\non = %q\nresource_id = %q\n", table, e.name+"."+e.verbs[i], on, e.resource)
			}
		}
	}
	return b.String() + "\n[tables.people.events.\"people.deleted\"]\non = \"delete\"\ngroup = { min = 2 }\ninstead_of = [\"person.deleted\"]\ndata = \"id\"\n"
}

// oracleRow is a row: the text of its columns, none for NULL. Names that begin with @ are the oracle's own.
type oracleRow map[string]string

// oracleState are the rows of all tables, by table and key.
type oracleState map[string]map[string]oracleRow

func emptyOracleState() oracleState {
	s := oracleState{"hooks": {}}
	for table := range oracleEntities {
		s[table] = map[string]oracleRow{}
	}
	return s
}

// clone copies the state; rows are never changed in place.
func (s oracleState) clone() oracleState {
	c := oracleState{}
	for table, rows := range s {
		c[table] = maps.Clone(rows)
	}
	return c
}

// with is the row with other values; an empty one is NULL.
func (r oracleRow) with(values ...string) oracleRow {
	c := maps.Clone(r)
	for i := 0; i < len(values); i += 2 {
		if c[values[i]] = values[i+1]; values[i+1] == "" {
			delete(c, values[i])
		}
	}
	return c
}

// tenant is the org that a row of a table belongs to. Rows that reach it over others remember it.
func (r oracleRow) tenant(table string) string {
	switch table {
	case "orgs":
		return r["id"]
	case "members", "badges":
		return r["@org"]
	}
	return r["org"]
}

// remove takes a row away, with everything that depends on it.
func (s oracleState) remove(table, key string) {
	delete(s[table], key)
	for child, e := range oracleEntities {
		for column, parent := range e.parents {
			if parent != table {
				continue
			}
			for childKey, row := range s[child] {
				if row[column] == key {
					s.remove(child, childKey)
				}
			}
		}
	}
	if table == "orgs" {
		maps.DeleteFunc(s["hooks"], func(_ string, hook oracleRow) bool { return hook["org"] == key })
	}
}

// oracleEvent is what must arrive. Data is the payload's, in one spelling.
type oracleEvent struct{ name, tenant, resource, data string }

func (e oracleEvent) String() string {
	return fmt.Sprintf("%s %s of %s %.200s", e.name, e.resource, e.tenant, e.data)
}

// spell writes data in one way: every scalar as text, so that neither types nor the order of fields matter, and long texts by
// their hash.
func spell(data any) string {
	var plain func(any) any
	plain = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			m := map[string]any{}
			for name, field := range v {
				m[name] = plain(field)
			}
			return m
		case []any:
			var lines []string
			for _, element := range v {
				lines = append(lines, fmt.Sprint(plain(element)))
			}
			slices.Sort(lines)
			return lines
		case nil:
			return nil
		default:
			if text := fmt.Sprint(v); len(text) > 40 {
				return fmt.Sprintf("%d bytes, %x", len(text), sha256.Sum256([]byte(text)))[:40]
			}
			return fmt.Sprint(v)
		}
	}
	text, err := json.Marshal(plain(data))
	if err != nil {
		panic(err) // there is nothing but maps, lists and texts
	}
	return string(text)
}

func (e oracleEntity) event(table, verb string, row oracleRow) oracleEvent {
	data := map[string]any{}
	for _, column := range e.columns {
		if data[column] = nil; row[column] != "" {
			data[column] = row[column]
		}
	}
	return oracleEvent{e.name + "." + verb, row.tenant(table), row[e.resource], spell(data)}
}

// transition is the event of a row that was one thing and is another, nil being no row. None is an event without a name.
func (e oracleEntity) transition(table string, old, row oracleRow) oracleEvent {
	verb, of := "", row
	switch {
	case old == nil && row != nil:
		verb = e.verbs[0]
	case old != nil && row == nil:
		verb, of = e.verbs[2], old
	case old != nil && !maps.Equal(old, row):
		verb = e.verbs[1]
	}
	if verb == "" {
		return oracleEvent{}
	}
	return e.event(table, verb, of)
}

// oracleBetween are the events of one transaction, or of one comparison, that leads from one state to another.
func oracleBetween(before, after oracleState) []oracleEvent {
	var events []oracleEvent
	deleted := map[string][]any{} // people, by org
	var singles []oracleEvent
	for table, e := range oracleEntities {
		for key, row := range after[table] {
			if event := e.transition(table, before[table][key], row); event.name != "" {
				events = append(events, event)
			}
		}
		for key, old := range before[table] {
			if _, stays := after[table][key]; stays || e.absorbed(old, before, after) {
				continue
			}
			event := e.transition(table, old, nil)
			if table == "people" {
				deleted[event.tenant], singles = append(deleted[event.tenant], key), append(singles, event)
			} else {
				events = append(events, event)
			}
		}
	}
	for _, single := range singles {
		if len(deleted[single.tenant]) == 1 {
			events = append(events, single)
		}
	}
	for tenant, keys := range deleted {
		if len(keys) > 1 {
			events = append(events, oracleEvent{"people.deleted", tenant, tenant, spell(keys)})
		}
	}
	slices.SortFunc(events, func(a, b oracleEvent) int { return strings.Compare(a.name+a.resource+a.data, b.name+b.resource+b.data) })
	return events
}

// absorbed: a row that goes together with a parent makes no event of its own.
func (e oracleEntity) absorbed(old oracleRow, before, after oracleState) bool {
	for column, parent := range e.parents {
		if _, was := before[parent][old[column]]; was {
			if _, stays := after[parent][old[column]]; !stays {
				return true
			}
		}
	}
	return false
}
