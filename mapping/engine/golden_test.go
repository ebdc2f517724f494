package engine

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/mapping/language"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

var update = flag.Bool("update", false, "rewrite the expected events in testdata")

// TestGolden runs every testdata/golden/*.txt: rows of the mirror, then transactions, each followed by its expected events with
// the exact bodies. Sections begin with "== name"; `go test -update` rewrites the events.
//
//	== options     preset=… resource_id=… drop=…        (default: preset=ferriskey)
//	== mapping     a mapping file in TOML
//	== schema      tables as in ferriskey.schema        (default: that file)
//	== mirror      table column=value …                 other columns have the default value of their type
//	== transaction insert|update|delete table column=value …
//	== reconciled  the same, as differences found by a reconciliation
//	== events
//
// @xy is a uuid that ends in xy; ~ is an unchanged large value, which the WAL does not contain.
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

// runGolden returns the source of the case with the events that the mapping makes.
func runGolden(t *testing.T, source string) string {
	t.Helper()
	var out strings.Builder
	w := &world{t: t, options: language.Options{}, schema: mappingtest.DefaultSchema(t)}
	for _, s := range sections(source) {
		if s.name == "events" {
			continue // Written after each transaction.
		}
		out.WriteString(strings.TrimRight(s.raw, "\n"))
		out.WriteString(strings.Repeat("\n", min(len(s.raw), 2)))
		switch s.name {
		case "transaction", "reconciled":
			out.WriteString("== events\n")
			w.reconciled = s.name == "reconciled"
			for _, e := range w.transaction(s.lines, !w.reconciled) {
				out.WriteString(e)
			}
			out.WriteString("\n")
		default:
			w.prepare(s)
		}
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// prepare applies a section before the transactions.
func (w *world) prepare(s section) {
	switch s.name {
	case "options":
		w.options.Preset, w.options.ResourceID, w.options.Drop = mappingtest.ParseOptions(w.t, strings.Join(s.lines, " "))
	case "mapping":
		w.options.File = filepath.Join(w.t.TempDir(), "mapping.toml")
		if err := os.WriteFile(w.options.File, []byte(strings.Join(s.lines, "\n")), 0o600); err != nil {
			w.t.Fatal(err)
		}
	case "schema":
		w.schema = mappingtest.ParseSchema(w.t, s.lines)
	case "mirror":
		for _, line := range s.lines {
			w.mirrorRow(line)
		}
	}
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
		w.t.Errorf("resource_id is %q in the body and %q in the event", *body.ResourceID, e.Resource)
	}
	var s strings.Builder
	s.WriteString(e.Name + " tenant=" + short(string(e.Tenant)) + " (" + e.TenantName + ") resource=" + short(e.Resource))
	if e.ToRoot {
		s.WriteString(" to-root")
	}
	if e.Delay != nil {
		s.WriteString(" delayed=" + e.Delay.Within.String() + " match=" + w.matchName(e.Delay.Match))
	}
	s.WriteString("\n")
	s.Write(e.Body)
	s.WriteString("\n")
	return s.String()
}

// matchName names match keys A, B, … in the order of their first appearance.
func (w *world) matchName(match string) string {
	for i, m := range w.matches {
		if m == match {
			return string(rune('A' + i))
		}
	}
	w.matches = append(w.matches, match)
	return string(rune('A' + len(w.matches) - 1))
}
