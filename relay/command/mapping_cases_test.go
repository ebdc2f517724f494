package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

const memberCase = `-- mapping: own.toml
CREATE TABLE orgs (id int PRIMARY KEY); CREATE TABLE members (id int PRIMARY KEY, org_id int REFERENCES orgs ON DELETE CASCADE, name text);
INSERT INTO orgs VALUES (1); INSERT INTO members VALUES (6, 1, 'ada');

-- transaction: a member joins and is renamed at once
INSERT INTO members VALUES (7, 1, 'mia');
UPDATE members SET name = 'mira' WHERE id = 7;
-- event tenant=1: {"event":"member.created","timestamp":"COMMIT","resource_id":"7","data":{"org_id":1,"id":7,"name":"mia"}}

-- transaction: a key changes
UPDATE members SET id = 8, name = 'ida' WHERE id = 6;
-- event tenant=1: {"event":"member.deleted","timestamp":"COMMIT","resource_id":"6","data":{"org_id":1,"id":6,"name":"ada"}}
-- event tenant=1: {"event":"member.created","timestamp":"COMMIT","resource_id":"8","data":{"org_id":1,"id":8,"name":"ida"}}

-- transaction: a table is emptied
TRUNCATE members;
-- event tenant=1: {"event":"member.deleted","timestamp":"COMMIT","resource_id":"7","data":{"org_id":1,"id":7,"name":"mira"}}
-- event tenant=1: {"event":"member.deleted","timestamp":"COMMIT","resource_id":"8","data":{"org_id":1,"id":8,"name":"ida"}}
`

const memberMapping = `tenant = "orgs"
[tables.orgs]
key = ["id"]
[tables.members]
key = ["id"]
parents = { org_id = "orgs" }
columns = ["id", "name"]
[tables.members.events]
"member.created" = "insert"
"member.updated" = "update"
"member.deleted" = "delete"
`

func TestMappingTest(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "member.sql")
	for name, text := range map[string]string{"member.sql": memberCase, "own.toml": memberMapping, "schema.sql": "SELECT 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := clustertest.Cluster(t).URL("postgres")

	r := run(t, "mapping", "test", "--url", server, dir)
	r.fails(1, "1 of 1 case did not pass")
	r.prints("✗ " + path + "\n" +
		"  -- transaction: a member joins and is renamed at once\n" +
		`  - event tenant=1: {"event":"member.created","timestamp":"COMMIT","resource_id":"7","data":{"org_id":1,"id":7,"name":"mia"}}` + "\n" +
		`  + event tenant=1: {"event":"member.created","timestamp":"COMMIT","resource_id":"7","data":{"org_id":1,"id":7,"name":"mira"}}` + "\n")

	run(t, "mapping", "test", "--url", server, "--update", path).done("✓ " + path + "\n")
	updated, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(memberCase, `"name":"mia"}`, `"name":"mira"}`, 1)
	if diff := cmp.Diff(want, string(updated)); diff != "" {
		t.Errorf("the updated case (-want +got):\n%s", diff)
	}
	run(t, "mapping", "test", "--url", server, dir, "--json").done(`{"case":"` + path + `","passed":true}` + "\n")

	conn := newWorld(t)
	if conn.exists("SELECT FROM pg_database WHERE datname LIKE 'iam\\_relay\\_case\\_%' AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datname = pg_database.datname)") {
		t.Error("a database of a case is left")
	}
}

func TestMappingTest_Mistakes(t *testing.T) {
	t.Parallel()
	server := clustertest.Cluster(t).URL("postgres")
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "case.sql")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	run(t, "mapping", "test").fails(2, "--url is required: a server for tests, where the role may create databases")
	empty := t.TempDir()
	run(t, "mapping", "test", "--url", server, empty).fails(2, "there is no case in "+empty+"; a case is a .sql file with lines such as: -- transaction: a user is created")
	for text, want := range map[string]string{
		"SELECT 1;\n":                      "CASE has no transaction; begin each with a line such as: -- transaction: a user is created",
		"-- transaction: one\nSELECT 1;\n": "the case names no mapping; add a line such as -- mapping: mapping.toml, or name one on the command line",
		"-- mapping: preset:ferriskey\n-- transaction: one\nSELECT 1;\n": "the database has no table public.credentials",
	} {
		path := write(text)
		r := run(t, "mapping", "test", "--url", server, path)
		if r.code != 1 || !strings.Contains(strings.ReplaceAll(r.out, path, "CASE"), want) {
			t.Errorf("exit code %d: %s%s", r.code, r.out, r.err)
		}
	}
}
