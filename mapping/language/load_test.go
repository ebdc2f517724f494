package language

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

var updateProblems = flag.Bool("update", false, "rewrite the expected problems in testdata")

// TestLoad_Problems runs every testdata/load/*.toml. Each ends with comment lines "#! message": the problems that Load reports
// or, for the database of ferriskey.schema, Bind. FILE stands for the name of the file. "#!option name=value" sets an option.
// `go test -update` rewrites the messages.
func TestLoad_Problems(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/load/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := withProblems(t, file, string(source))
			if *updateProblems {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(source), got); diff != "" {
				t.Errorf("messages differ (-want +got):\n%s", diff)
			}
		})
	}
}

// withProblems returns the source of the case with the problems that Load or Bind reports.
func withProblems(t *testing.T, file, source string) string {
	t.Helper()
	var got strings.Builder
	options := Options{File: file}
	for line := range strings.Lines(source) {
		if option, ok := strings.CutPrefix(line, "#!option "); ok {
			options.Preset, options.ResourceID, options.Drop = mappingtest.ParseOptions(t, option)
		}
		if !strings.HasPrefix(line, "#! ") {
			got.WriteString(line)
		}
	}
	rules, err := Load(options)
	if err == nil {
		_, err = rules.Bind(mappingtest.DefaultSchema(t).Relations(rules))
	}
	if err == nil {
		t.Fatal("the mapping was accepted")
	}
	for message := range strings.SplitSeq(err.Error(), "\n") {
		got.WriteString("#! " + strings.ReplaceAll(message, file, "FILE") + "\n")
	}
	return got.String()
}

func TestLoad_NoMapping(t *testing.T) {
	t.Parallel()
	if _, err := Load(Options{}); err == nil || !strings.Contains(err.Error(), "mapping.preset: is empty") {
		t.Errorf("got %v, want that mapping.preset is empty", err)
	}
	if _, err := Load(Options{Preset: "feriskey"}); err == nil || !strings.Contains(err.Error(), `did you mean "ferriskey"?`) {
		t.Errorf("got %v, want the nearest preset", err)
	}
	file := filepath.Join(t.TempDir(), "none.toml")
	_, err := Load(Options{File: file})
	if _, ok := errors.AsType[*rules.Error](err); !ok || err.Error() != file+": cannot be read: no such file or directory" {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}

func TestLoad_Extends(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.toml")
	own := `
extends = "ferriskey"
drop = ["user.updated"]
schema = "iam"

[tables.users]
omit_null = []
[tables.users.format]
username = { null = "unnamed" }

[tables.users.events."user.created"]
on = "insert"
data = ["id"]

[tables.users.events."user.locked"]
on = "update"
changed = ["locked_until"]
`
	if err := os.WriteFile(file, []byte(own), 0o600); err != nil {
		t.Fatal(err)
	}
	preset, err := Load(Options{Preset: "ferriskey"})
	if err != nil {
		t.Fatal(err)
	}
	rules, err := Load(Options{File: file, Drop: []string{"webhook.created"}})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range preset.EventNames() {
		if name != "user.updated" && name != "webhook.created" {
			want = append(want, name)
		}
		if name == "user.bulk_deleted" { // the last event of its table
			want = append(want, "user.locked")
		}
	}
	if diff := cmp.Diff(want, rules.EventNames()); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if schema := rules.Tables()[0].Schema; schema != "iam" {
		t.Errorf("schema %q, want iam", schema)
	}
	if rules, err = Load(Options{File: file, Schema: "other"}); err != nil || rules.Tables()[0].Schema != "other" {
		t.Errorf("the option does not override the schema: %v", err)
	}
}

// The schema of the file applies unless an option overrides it.
func TestLoad_Schema(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(file, []byte("extends = \"ferriskey\"\nschema = \"IAM's own\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		options Options
		want    string
	}{{Options{File: file}, "IAM's own"}, {Options{File: file, Schema: "other"}, "other"}, {Options{Preset: "ferriskey"}, "public"}} {
		rules, err := Load(test.options)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range rules.Tables() {
			if table.Schema != test.want {
				t.Errorf("table %s is in schema %q, want %q", table.Name, table.Schema, test.want)
			}
		}
	}
}
