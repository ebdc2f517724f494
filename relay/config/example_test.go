package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// commentedOption matches an option that is commented out in the example.
var commentedOption = regexp.MustCompile(`(?m)^# (\[\[webhook\]\]|[a-z0-9_]+ = .*)$`)

func TestExample_EqualsTheFileInTheRoot(t *testing.T) {
	t.Parallel()
	root, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	if string(root) != Example {
		t.Error("config.example.toml and relay/config/example.toml differ; copy one over the other")
	}
}

func TestExample_HoldsTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := Load("example.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Source.URL = c.Source.URL
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("configuration (-default +example):\n%s", diff)
	}
}

func TestExample_HasEveryOption(t *testing.T) {
	t.Parallel()
	all := commentedOption.ReplaceAllString(Example, "$1")
	root, _, err := tomlpos.Parse("example.toml", []byte(all))
	if err != nil {
		t.Fatalf("uncommented: %v", err)
	}
	d := readDocument(root)
	ps := &problems{places: d.places}
	d.checkKeys(ps)
	if err := ps.err(); err != nil {
		t.Error(err)
	}
	shown := map[string]bool{}
	for _, key := range d.keys {
		o, _ := find(key)
		shown[o.path] = true
	}
	for _, o := range options() {
		if !shown[o.path] {
			t.Errorf("%s is missing", o.path)
		}
	}
}

// The commented webhook also shows the defaults, where there are any.
func TestExample_WebhookHoldsTheDefaults(t *testing.T) {
	t.Parallel()
	var lines []string
	for line := range strings.Lines(commentedOption.ReplaceAllString(Example, "$1")) {
		if !strings.Contains(line, "_file = ") {
			lines = append(lines, line)
		}
	}
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Webhooks) != 1 {
		t.Fatalf("%d webhooks", len(c.Webhooks))
	}
	got := c.Webhooks[0]
	want := defaultWebhook()
	want.Name, want.URL, want.Secret, want.Headers, want.Schedule = got.Name, got.URL, got.Secret, got.Headers, got.Schedule
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Webhook{})); diff != "" {
		t.Errorf("webhook (-default +example):\n%s", diff)
	}
}
