package language

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/engine"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/presets"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// loadText loads a document as if it were a file, merged over the preset that it extends.
func loadText(source []byte) (*rules.Set, error) {
	document, err := parse("fuzz.toml", source)
	if err != nil {
		return nil, err
	}
	if name, ok := extendedPreset(document); ok {
		preset, err := presets.Source(name)
		if err != nil {
			return nil, err
		}
		base, err := parse(name+".toml", preset)
		if err != nil {
			return nil, err
		}
		mergeDocument(base, document)
		document = base
	}
	return load(document, Options{})
}

func extendedPreset(document *tomlpos.Node) (string, bool) {
	n := document.Get("extends")
	if n == nil {
		return "", false
	}
	name, ok := n.Scalar.(string)
	return name, ok
}

// oids lists the types of fuzzed columns.
var oids = []uint32{25, 2950, 16, 23, 1700, 114, 1114, 1184, 17, 1009, 1007}

// plain holds a value of each type in oids.
var plain = []string{"a", "0198c0de-0000-7000-8000-000000000001", "t", "1", "1.5", "{}", "2026-08-20 10:00:00", "2026-08-20 10:00:00+00", `\x00`, "{a}", "{1}"}

// typed gives the tables column types: uuid for identifiers, and for other columns a type that depends on the bytes of the name.
func typed(tables []*cdc.Table, shift int) []*cdc.Relation {
	var out []*cdc.Relation
	for _, table := range tables {
		r := &cdc.Relation{Table: table, Types: make([]uint32, len(table.Columns))}
		for i, c := range table.Columns {
			switch {
			case strings.HasSuffix(c.Name, "id"):
				r.Types[i] = 2950
			default:
				sum := shift
				for _, b := range []byte(c.Name) {
					sum += int(b)
				}
				r.Types[i] = oids[sum%len(oids)]
			}
		}
		out = append(out, r)
	}
	return out
}

// exercise inserts, updates and deletes a row of each table, in three transactions, and returns the events.
func exercise(t *testing.T, m *engine.Mapper, relations []*cdc.Relation) []engine.Event {
	t.Helper()
	var events []engine.Event
	rows := mappingtest.Mirror{}
	for _, op := range []cdc.Op{cdc.Insert, cdc.Update, cdc.Delete} {
		var changes []cdc.Change
		for i, r := range relations {
			row := make(cdc.Row, len(r.Columns))
			for j := range row {
				row[j] = cdc.TextValue(plain[max(0, slices.Index(oids, r.Types[j]))])
			}
			key, err := r.KeyOf(row)
			if err != nil {
				t.Fatal(err)
			}
			c := cdc.Change{Seq: i, Op: op, Relation: r, Key: key}
			switch op {
			case cdc.Insert:
				c.New = row
			case cdc.Update:
				c.Old, c.New = row, slices.Clone(row)
				for j := r.KeyColumns; j < len(row); j++ {
					if c.New[j] = cdc.NullValue; j%2 == 0 {
						c.New[j] = cdc.TextValue(row[j].Text + "1")
					}
				}
			case cdc.Delete:
				c.Old = rows.Get(r.Table, key)
			}
			changes = append(changes, c)
		}
		tx := m.Begin(engine.Commit{LSN: 1, Time: time.Unix(0, 0)}, mappingtest.AnyRows{Mirror: rows})
		tx.Observe(changes)
		if err := tx.Group(changes); err != nil {
			return events
		}
		emit := func(e engine.Event) error {
			if !json.Valid(e.Body) {
				t.Errorf("event %s has the invalid body %s", e.Name, e.Body)
			}
			events = append(events, e)
			return nil
		}
		if err := tx.Map(changes, emit); err != nil {
			return events
		}
		for i := range changes {
			m.Refs(&changes[i], func(engine.Ref) {})
		}
		rows.Apply(changes)
	}
	return events
}

func addLoadSeeds(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/load/*.toml", "../presets/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(source, 0)
		}
	}
	for _, source := range []string{
		"extends = \"ferriskey\"\ndrop = [\"user.created\"]\n[tables.users.format]\nenabled = { null = false }\n",
		"extends = \"ferriskey\"\n[tables.users.events.\"user.created\"]\non = [\"insert\", \"delete\"]\ngroup = { min = 2 }\n",
		"tenant = \"t\"\n[tables.t]\nkey = [\"id\"]\ncolumns = [\"id\", \"gone\"]\ndeleted = \"gone != nil\"\n[tables.t.events]\n\"t.deleted\" = \"delete\"\n",
		"tenant = \"t\"\n[tables.t]\nkey = [\"id\"]\nparents = { id = \"t\" }\ninclude = { up = \"id\" }\n[tables.t.events.a]\non = \"update\"\nchanged = [\"id\"]\n",
		"tenant = { column = \"o\", constant = \"x\" }\n[tables.\"s.t\"]\nkey = [\"id\", \"k\"]\ncolumns = [\"o as p\", \"'v' as q\"]\n[tables.\"s.t\".events]\na = [{ on = \"insert\", resource_id = \"{o}:{id}\" }, { changed = \"o\" }]\nb = [\"delete\"]\nc = false\n",
	} {
		for shift := range 3 {
			f.Add([]byte(source), shift)
		}
	}
}

// FuzzLoad checks that no mapping file makes Load panic, that loading a file twice has the same result, and that Bind either
// refuses the tables or returns a working mapper.
func FuzzLoad(f *testing.F) {
	addLoadSeeds(f)
	f.Fuzz(func(t *testing.T, source []byte, shift int) {
		rules, err := loadText(source)
		second, secondErr := loadText(source)
		if err != nil {
			if secondErr == nil || err.Error() != secondErr.Error() {
				t.Errorf("first error: %v\nsecond error: %v", err, secondErr)
			}
			return
		}
		if secondErr != nil {
			t.Fatalf("loading it again: %v", secondErr)
		}
		if len(rules.Tables()) == 0 {
			t.Fatal("a mapping without tables was accepted")
		}
		if diff := cmp.Diff([]any{rules.EventNames(), rules.Tables()}, []any{second.EventNames(), second.Tables()}); diff != "" {
			t.Fatalf("(-first +second):\n%s", diff)
		}
		shift &= 0xffff
		events, bindErr := bindAndExercise(t, rules, shift)
		again, againErr := bindAndExercise(t, second, shift)
		if diff := cmp.Diff(events, again); diff != "" || bindErr != againErr {
			t.Errorf("Bind: %q against %q, events (-first +second):\n%s", bindErr, againErr, diff)
		}
	})
}

func bindAndExercise(t *testing.T, rules *rules.Set, shift int) (events []engine.Event, bindErr string) {
	t.Helper()
	relations := typed(rules.Tables(), shift)
	m, err := rules.Bind(relations)
	if err != nil {
		return nil, err.Error()
	}
	return exercise(t, engine.New(m), relations), ""
}
