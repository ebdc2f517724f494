package command_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// ownMapping writes a mapping, and returns its path.
func ownMapping(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "own.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Without a configuration and a database, the mapping alone is checked.
func TestMappingCheck_Alone(t *testing.T) {
	t.Parallel()
	r := run(t, "mapping", "check", "preset:ferriskey")
	if r.code != 0 || r.err != "" {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
	r.has("— database     not compared with a database; name one with --url",
		"✓ events       public.realms: realm.created, realm.updated, realm.deleted",
		"— ignored      a change of only these is not an update: updated_at of public.realms",
		"— hashed       only the SHA-256 is read: device_code of public.device_auth_sessions")

	path := ownMapping(t, "tenant = false\n[tables.users]\nkey = [\"id\"]\ncolumns = [\"name\"]\n[tables.users.events]\n\"user.created\" = \"insrt\"\n\"user.renamed\" = { changed = [\"nam\"] }\n")
	r = run(t, "mapping", "check", path)
	r.fails(1, "the mapping has 2 problems")
	r.has("✗ mapping      "+path+`:6: on = "insrt" is not an operation; did you mean "insert"?`, "✗ mapping      "+path+`:7: unknown column "nam" of users; did you mean "name"?`)

	run(t, "mapping", "check").fails(2, "no mapping given, and there is no configuration that names one; give a FILE, or preset:NAME as iam-relay presets lists them")
	run(t, "mapping", "check", "missing.toml").fails(2, "missing.toml: cannot be read: no such file or directory")
	run(t, "mapping", "check", "preset:feriskey").fails(2, `mapping.preset: unknown preset "feriskey"; did you mean "ferriskey"?`)
	run(t, "mapping", "chek").fails(2, `unknown command "chek"; did you mean "mapping check"?`)
}

// All mismatches between the mapping and the catalog are reported together, each with its line and the nearest name there.
func TestMappingCheck_Database(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`CREATE TABLE "User" (id int PRIMARY KEY, "emailVerified" bool, "displayName" text, extra text); CREATE SCHEMA auth; CREATE TABLE auth.sessions (id int PRIMARY KEY);
		CREATE UNLOGGED TABLE fast (id int PRIMARY KEY); CREATE TABLE member (id int PRIMARY KEY, display_nam text, role text)`)
	path := ownMapping(t, `tenant = false
[tables.user]
key = ["id"]
events = { "user.created" = "insert" }
[tables.sessions]
key = ["id"]
events = { "session.created" = "insert" }
[tables.member]
key = ["id"]
columns = ["displayName"]
events = { "member.created" = "insert" }
[tables.fast]
key = ["id"]
events = { "fast.created" = "insert" }
[tables.User]
key = ["id"]
columns = ["emailVerified", "shoe_size"]
optional_columns = ["shoe_size"]
events = { "user.updated" = "update" }
`)
	r := run(t, "mapping", "check", path, "--url", w.url)
	r.fails(1, "the mapping has 4 problems")
	r.has("✗ mapping      "+path+`:2: the database has no table public.user; if some versions of the IAM lack it, set optional = true; did you mean "User"?`,
		"✗ mapping      "+path+`:5: the database has no table public.sessions; if some versions of the IAM lack it, set optional = true; did you mean "auth.sessions"?`,
		"✗ mapping      "+path+`:8: table public.member has no column "displayName"; if some versions of the IAM lack it, list it under optional_columns; did you mean "display_nam"?`,
		"✗ mapping      "+path+`:12: public.fast: is unlogged or temporary, so its changes are not in the WAL; ALTER TABLE "public"."fast" SET LOGGED`,
		"— not mapped   never read: displayName, extra of public.User")

	r = run(t, "mapping", "check", "preset:ferriskey", "--url", w.url, "--schema", "none", "--json")
	if r.code != 1 {
		t.Errorf("exit code %d", r.code)
	}
	r = w.run("mapping", "check", "--json")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	var result struct {
		Mapping, Database string
		Problems          []string
		Tables            []struct {
			Name            string
			Events, Ignored []string
			Unmapped        []string `json:"unmapped_columns"`
		}
		Unmapped []string `json:"unmapped_tables"`
	}
	if err := json.Unmarshal([]byte(r.out), &result); err != nil {
		t.Fatal(err)
	}
	if result.Mapping != "preset:ferriskey" || result.Database != "NAME" || len(result.Problems) > 0 || len(result.Tables) != 16 {
		t.Errorf("it has %s", r.out)
	}
	if diff := cmp.Diff([]string{"realm.created", "realm.updated", "realm.deleted"}, result.Tables[0].Events); diff != "" {
		t.Error(diff)
	}
	if len(result.Unmapped) == 0 || len(result.Tables[0].Ignored) != 1 {
		t.Errorf("it has %s", r.out)
	}
}

// A role without any grant on the tables sees the same as their owner: only the catalog is read.
func TestMappingCheck_NeedsNoGrants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	role := w.role("")
	w.exec("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC")
	r := run(t, "mapping", "check", "preset:ferriskey", "--url", w.as(role, password))
	if r.code != 0 || r.err != "" {
		t.Errorf("exit code %d, stderr %q\n%s", r.code, r.err, r.out)
	}
}
