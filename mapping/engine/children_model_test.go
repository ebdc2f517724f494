package engine

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

const childrenMapping = `
tenant = false
[tables.people]
key = ["id"]
columns = ["name", "seen"]
ignore = ["seen"]
children.attributes = { table = "attributes", by = "user", where = "name != 'z'", object = { key = "name", value = "value", multi = true } }
[tables.people.events]
created = "insert"
updated = "update"
deleted = "delete"
[tables.attributes]
key = ["id"]
parents = { user = "people" }
columns = ["name", "value"]
`

// childrenModel holds the rows of both tables by key.
type childrenModel map[string]map[string]modelRow

// shown is what the events of a user depend on: the name, and the attributes by value.
func (m childrenModel) shown(user string) string {
	var pairs []string
	for _, row := range m["attributes"] {
		if row["user"] == user && row["name"] != "z" {
			pairs = append(pairs, row["name"]+"="+row["value"])
		}
	}
	slices.Sort(pairs)
	return fmt.Sprint(m["people"][user]["name"], pairs)
}

// events returns what should be emitted between two states, sorted.
func (m childrenModel) events(after childrenModel) []string {
	var out []string
	for id := range m["people"] {
		switch _, exists := after["people"][id]; {
		case !exists:
			out = append(out, "deleted "+id)
		case m.shown(id) != after.shown(id):
			out = append(out, "updated "+id)
		}
	}
	for id := range after["people"] {
		if _, existed := m["people"][id]; !existed {
			out = append(out, "created "+id)
		}
	}
	slices.Sort(out)
	return out
}

// childrenStatement executes a random statement and records its change.
func (m *modelWorld) childrenStatement(model childrenModel) {
	pick := func(label string, values ...string) string { return rapid.SampledFrom(values).Draw(m.t.run, label) }
	table := pick("table", "people", "attributes", "attributes")
	id := pick("id", "1", "2", "3", "4")
	row := modelRow{"name": pick("name", "a", "b", "z"), "seen": pick("seen", "0", "1")}
	if table == "attributes" {
		row = modelRow{"name": row["name"], "user": pick("user", "1", "2", "3"), "value": pick("value", "x", "y")}
	}
	sent := m.asRow(table, id, row)
	switch _, exists := model[table][id]; {
	case !exists:
		model[table][id] = row
		m.record(cdc.Change{Op: cdc.Insert, Key: cdc.Key(id), New: sent}, table)
	case pick("what", "update", "delete") == "delete":
		delete(model[table], id)
		m.record(cdc.Change{Op: cdc.Delete, Key: cdc.Key(id)}, table)
	default:
		model[table][id] = row
		m.record(cdc.Change{Op: cdc.Update, Key: cdc.Key(id), New: sent}, table)
	}
}

// For random transactions, a parent is updated once if it or what its children show has changed, whatever the keys of the
// children, and with the same events when the transaction is too large for memory.
func TestModel_ChildrenOfRandomTransactions(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "mapping.toml")
	if err := os.WriteFile(file, []byte(childrenMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	bound := &world{t: t, options: language.Options{File: file}, schema: mappingtest.ParseSchema(t, []string{
		"people id text, name text, seen int4", "attributes id text, user text, name text, value text",
	})}
	bound.start()
	plain := map[string]cdc.Row{}
	rapid.Check(t, func(rt *rapid.T) {
		w := *bound
		m := &modelWorld{world: &w, t: trial{t, rt}, plain: plain}
		w.t, w.mirror = m.t, mappingtest.Mirror{}
		model := childrenModel{"people": {}, "attributes": {}}
		for range rapid.IntRange(1, 8).Draw(rt, "transactions") {
			before := childrenModel{"people": maps.Clone(model["people"]), "attributes": maps.Clone(model["attributes"])}
			for range rapid.IntRange(1, 12).Draw(rt, "statements") {
				m.childrenStatement(model)
			}
			events := m.small(m.net())
			var got []string
			for _, e := range events {
				got = append(got, e.Name+" "+e.Resource)
			}
			slices.Sort(got)
			if diff := cmp.Diff(before.events(model), got); diff != "" {
				rt.Fatalf("events (-want +got):\n%s", diff)
			}
		}
	})
}

// small maps the changes as a small and as a large transaction, compares both, and applies the changes.
func (m *modelWorld) small(changes []cdc.Change) []Event {
	rows := &fetched{w: m.world, mirror: m.mirror, allowed: map[Ref]bool{}}
	for i := range changes {
		rows.allowed[Ref{Table: changes[i].Relation.Table, Key: changes[i].Key}] = true
	}
	m.fetch(rows, changes)
	m.commits++
	at := Commit{LSN: cdc.LSN(m.commits), Time: time.Unix(int64(m.commits), 0)}
	events := m.mapped(m.mapper.Begin(at, rows), changes, false)
	previous := m.mirrorCopy()
	for _, c := range changes {
		if c.Op != cdc.Delete {
			m.mirror.Put(c.Relation.Table, c.New)
		}
	}
	large := m.mapped(m.mapper.BeginLarge(at, &fetched{w: m.world, mirror: m.mirror, previous: previous, anything: true}), changes, true)
	if diff := cmp.Diff(events, large); diff != "" {
		m.t.Fatalf("events (-small +large):\n%s", diff)
	}
	m.mirror.Apply(changes)
	return events
}
