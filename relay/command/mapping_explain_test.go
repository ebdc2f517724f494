package command_test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
	"github.com/iam-relay/iam-relay/integration/ferriskey"
)

const explainedCase = `CREATE TABLE orgs (id int PRIMARY KEY); CREATE TABLE members (id int PRIMARY KEY, org_id int REFERENCES orgs ON DELETE CASCADE, name text, kind text, code text);
INSERT INTO orgs VALUES (1);

-- transaction: joins and is renamed
INSERT INTO members VALUES (7, 1, 'mia', 'guest', 'never-shown');
UPDATE members SET name = 'mira' WHERE id = 7;

-- transaction: a guest is renamed
UPDATE members SET name = 'mona', code = 'never-shown-2' WHERE id = 7;

-- transaction: the organization goes
DELETE FROM orgs;
`

const explainedMapping = `tenant = "orgs"
[tables.orgs]
key = ["id"]
events = { "org.deleted" = "delete" }
[tables.members]
key = ["id"]
parents = { org_id = "orgs" }
columns = ["id", "name", "kind"]
hash = ["code"]
[tables.members.events]
"member.created" = "insert"
"member.updated" = { on = "update", when = "row.kind != 'guest' and row.code != ''" }
"member.promoted" = { changed = ["kind"] }
"member.deleted" = "delete"
`

func TestMappingExplain_SQL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mapping, path := filepath.Join(dir, "own.toml"), filepath.Join(dir, "case.sql")
	for name, text := range map[string]string{mapping: explainedMapping, path: explainedCase} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := run(t, "mapping", "explain", "--sql", path, "--url", clustertest.Cluster(t).URL("postgres"), mapping)
	if r.code != 0 || strings.Contains(r.out, "never-shown") {
		t.Errorf("exit code %d, stderr %q:\n%s", r.code, r.err, r.out)
	}
	r.out = strings.ReplaceAll(r.out, mapping, "MAPPING")
	r.has("  2 changes in mapped tables, 1 row after folding",
		"  insert public.members 7", "    member.created  fired  (MAPPING:11)",
		"  update public.members 7 (name, code)",
		`    member.updated  condition false: row.kind != 'guest' and row.code != ''; kind: "guest"; code: (not shown)  (MAPPING:12)`,
		"    member.promoted  unchanged  (MAPPING:13)",
		"    org.deleted  fired  (MAPPING:4)", "    member.deleted  absorbed: by the delete in public.orgs  (MAPPING:14)")

	run(t, "mapping", "explain").fails(2, "give either --follow or --sql FILE")
	run(t, "mapping", "explain", "--sql", path).fails(2, "--sql needs --url: a server for tests, where the role may create databases")
}

// The transactions of a running IAM are explained, and nothing is left behind.
func TestMappingExplain_Follow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cmd := exec.CommandContext(t.Context(), binary, "mapping", "explain", "--follow", "--json", "preset:ferriskey", "--url", w.url)
	cmd.Env, cmd.Stderr = []string{"HOME=" + t.TempDir()}, os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.eventually(`SELECT FROM pg_replication_slots WHERE database = $1 AND slot_name LIKE 'iam\_relay\_explain\_%' AND active`, w.name)
	if _, err := ferriskey.New(w.conn).Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for found := false; !found; {
		if !lines.Scan() {
			t.Fatalf("the program ended: %v", lines.Err())
		}
		var e struct{ Events []string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		found = len(e.Events) > 0 && strings.Contains(e.Events[0], "realm.created")
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if w.exists(`SELECT FROM pg_replication_slots WHERE database = $1`, w.name) || w.exists(`SELECT FROM pg_publication`) {
		t.Error("a slot or a publication is left")
	}
}
