package mapping

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
)

var update = flag.Bool("update", false, "rewrite the expected events in testdata")

// TestGolden runs every testdata/golden/*.txt: the mirror as it is, then transactions, each followed by the events that it must
// make, bodies to the byte. Sections begin with "== name"; `go test -update` rewrites the events.
//
//	== options     preset=… resource_id=… drop=…        (default: preset=ferriskey)
//	== mapping     a mapping file in TOML
//	== schema      tables as in ferriskey.schema        (default: that file)
//	== mirror      table column=value …                 columns that are not given get their type's plain value
//	== transaction insert|update|delete table column=value …
//	== reconciled  the same, as what a comparison has found
//	== events
//
// @xy is a uuid that ends in xy; ~ is a value that the log leaves out as unchanged.
func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/golden/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runGolden(t, string(source))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(source), got); diff != "" {
				t.Errorf("events differ (-want +got):\n%s", diff)
			}
		})
	}
}

// runGolden returns the case's source with the events that the mapping really makes.
func runGolden(t *testing.T, source string) string {
	t.Helper()
	var out strings.Builder
	w := &world{t: t, options: Options{}, schema: defaultSchema(t)}
	for _, s := range sections(source) {
		if s.name == "events" {
			continue // They follow each transaction anew.
		}
		out.WriteString(strings.TrimRight(s.raw, "\n"))
		out.WriteString(strings.Repeat("\n", min(len(s.raw), 2)))
		switch s.name {
		case "options":
			w.setOptions(s.lines)
		case "mapping":
			w.options.File = filepath.Join(t.TempDir(), "mapping.toml")
			if err := os.WriteFile(w.options.File, []byte(strings.Join(s.lines, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
		case "schema":
			w.schema = parseSchema(t, s.lines)
		case "mirror":
			for _, line := range s.lines {
				w.mirrorRow(line)
			}
		case "transaction", "reconciled":
			out.WriteString("== events\n")
			w.reconciled = s.name == "reconciled"
			for _, e := range w.transaction(s.lines, !w.reconciled) {
				out.WriteString(e)
			}
			out.WriteString("\n")
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

type section struct {
	name  string
	lines []string // without blanks and comments
	raw   string
}

func sections(source string) []section {
	var out []section
	current := section{}
	for line := range strings.Lines(source) {
		if name, ok := strings.CutPrefix(line, "== "); ok {
			out = append(out, current)
			current = section{name: strings.TrimSpace(name)}
		}
		current.raw += line
		if text := strings.TrimRight(line, "\n"); text != "" && !strings.HasPrefix(text, "==") && (current.name == "mapping" || !strings.HasPrefix(text, "#")) {
			current.lines = append(current.lines, text)
		}
	}
	return append(out, current)
}

// describe writes an event as the golden files show it, and checks its body.
func (w *world) describe(e Event) string {
	w.t.Helper()
	var body struct {
		Event      string          `json:"event"`
		Timestamp  string          `json:"timestamp"`
		ResourceID *string         `json:"resource_id"`
		Data       json.RawMessage `json:"data"`
	}
	decoder := json.NewDecoder(bytes.NewReader(e.Body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil {
		w.t.Errorf("body of %s: %v\n%s", e.Name, err, e.Body)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, e.Body); err != nil || !bytes.Equal(compact.Bytes(), e.Body) {
		w.t.Errorf("body of %s is not compact: %v", e.Name, err)
	}
	if body.ResourceID != nil && *body.ResourceID != e.Resource {
		w.t.Errorf("resource_id %q in the body, %q beside it", *body.ResourceID, e.Resource)
	}
	var s strings.Builder
	s.WriteString(e.Name + " tenant=" + short(string(e.Tenant)) + " (" + e.TenantName + ") resource=" + short(e.Resource))
	if e.ToRoot {
		s.WriteString(" to-root")
	}
	if e.Hold != nil {
		s.WriteString(" held=" + e.Hold.Within.String() + " match=" + w.matchName(e.Hold.Match))
	}
	s.WriteString("\n")
	s.Write(e.Body)
	s.WriteString("\n")
	return s.String()
}

// matchName numbers match keys by first appearance: their text is a hash.
func (w *world) matchName(match string) string {
	for i, m := range w.matches {
		if m == match {
			return string(rune('A' + i))
		}
	}
	w.matches = append(w.matches, match)
	return string(rune('A' + len(w.matches) - 1))
}

var _ Rows = (*fetched)(nil)

// fetched are the rows that Refs and RefsOf named. Asking for any other is a fault: the relay would not have it.
type fetched struct {
	w        *world
	mirror   mirror
	allowed  map[Ref]bool
	former   mirror // as before the transaction, where the mirror is as after it
	anything bool
}

func (f *fetched) Row(table *cdc.Table, key cdc.Key) cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: key}] {
		f.w.t.Errorf("mapping asked for %s %s, which Refs had not named", table.Name, key)
	}
	return f.mirror.row(table, key)
}

func (f *fetched) Former(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: parent, By: by}] && !f.allowed[Ref{Table: table, Key: parent, By: by, Before: true}] {
		f.w.t.Errorf("mapping asked for the former children of %s in %s, which Refs had not named", parent, table.Name)
	}
	return f.before().children(table, by, parent)
}

func (f *fetched) before() mirror {
	if f.former != nil {
		return f.former
	}
	return f.mirror
}

func (f *fetched) Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	if !f.anything && !f.allowed[Ref{Table: table, Key: parent, By: by}] {
		f.w.t.Errorf("mapping asked for the children of %s in %s, which Refs had not named", parent, table.Name)
	}
	return f.mirror.children(table, by, parent)
}
