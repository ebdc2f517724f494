package language

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/mapping/mappingtest"
	"github.com/iam-relay/iam-relay/mapping/presets"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

const secretsMapping = `
tenant = "orgs"
[tables.orgs]
key = ["id"]
columns = ["title"]
[tables.people]
key = ["id"]
parents = { org = "orgs" }
columns = ["hashedPassword", "enablePassword", "passwordLength", "passwordChangedAt", "meta", "inviteCode"]
data = ["id", "hashedPassword as shape", "meta as about", "org.title"]
collect = { notes = { table = "notes", by = "person", column = "accessToken" } }
PUBLIC
[tables.notes]
key = ["id"]
parents = { person = "people" }
columns = ["accessToken"]
optional_columns = ["apiKey"]
[tables.later]
key = ["id"]
optional = true
parents = { person = "people" }
columns = ["clientSecret"]
hash = ["deviceCode"]
secrets = ["secret"]
[tables.people.events."person.created"]
on = "insert"
`

// Bind refuses a column that looks like a secret wherever the mapping names it, whatever the field is called, unless it is public.
func TestBind_RefusesSecrets(t *testing.T) {
	t.Parallel()
	lines := []string{
		"orgs id uuid, title text", "people id uuid, org uuid, hashedPassword text, enablePassword bool, passwordLength int4, passwordChangedAt timestamp, meta jsonb, inviteCode text",
		"notes id uuid, person uuid, accessToken text",
	}
	bind := func(public, from string) (*rules.Binding, error) {
		file := filepath.Join(t.TempDir(), "own.toml")
		source := strings.Replace(strings.Replace(secretsMapping, "PUBLIC", public, 1), `optional_columns = ["apiKey"]`, from, 1)
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		rules, err := Load(Options{File: file})
		if err != nil {
			t.Fatal(err)
		}
		return rules.Bind(mappingtest.ParseSchema(t, lines).Relations(rules))
	}
	_, err := bind("", "")
	if err == nil {
		t.Fatal("secrets were accepted")
	}
	for _, column := range []string{`:9: "hashedPassword" of people looks like a secret`, `:9: "meta" of people is a document`, `:9: "inviteCode" of people`, `:16: "accessToken" of notes`, `"clientSecret" of later`} {
		if !strings.Contains(err.Error(), column) || !strings.Contains(err.Error(), "under public") {
			t.Errorf("the error does not contain %s:\n%v", column, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n != 4 {
		t.Errorf("%d problems:\n%v", n+1, err)
	}
	_, err = bind(`public = ["hashedPassword", "meta", "inviteCode", "enablePassword"]`, `public = ["accessToken"]`)
	if err == nil || !strings.Contains(err.Error(), "clientSecret") {
		t.Fatalf("column of an optional table that does not exist yet: %v", err)
	}
	lines = append(lines, "later id uuid, person uuid, clientSecret bool, deviceCode uuid, secret text")
	m, err := bind(`public = ["hashedPassword", "meta", "inviteCode", "enablePassword"]`, `public = ["accessToken"]`)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"people.hashedPassword", "people.meta", "people.inviteCode", "notes.accessToken"}; !slices.Equal(m.PublicColumns(), want) {
		t.Errorf("public: %q, want %q", m.PublicColumns(), want)
	}
}

// No preset declares a column public.
func TestPresets_NeedNoPublicColumns(t *testing.T) {
	t.Parallel()
	for _, preset := range presets.All() {
		source, err := presets.Source(preset.Name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(source), "\npublic") {
			t.Errorf("preset %s declares columns public", preset.Name)
		}
	}
}
