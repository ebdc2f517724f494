package command_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// block returns the lines of the first block of README.md in that language which has the text.
func block(t *testing.T, language, text string) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(readme), "```"+language+"\n")[1:] {
		if code, _, _ := strings.Cut(part, "```"); strings.Contains(code, text) {
			return strings.Split(strings.TrimSpace(code), "\n")
		}
	}
	t.Fatalf("README.md has no block of %s with %q", language, text)
	return nil
}

// The steps of the README work for the owner of FerrisKey's tables without superuser rights.
func TestReadme_StepsEndInAGreenCheck(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const role = "iam_relay"
	owner := w.name + "_owner"
	w.exec(fmt.Sprintf(`CREATE ROLE %s LOGIN PASSWORD '%s'`, owner, password))
	w.forget(owner)
	w.exec(fmt.Sprintf("GRANT CREATE ON DATABASE %s TO %s", w.name, owner))
	w.exec(fmt.Sprintf(`DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT c.oid FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('ALTER TABLE %%s OWNER TO %s', t); END LOOP; END $$`, owner))

	// The administrator's part: the server of the test has wal_level = logical already.
	for _, sql := range block(t, "sql", "CREATE ROLE") {
		if sql, _, _ = strings.Cut(sql, "--"); !strings.Contains(sql, "wal_level") {
			w.exec(sql)
		}
	}
	w.forget(role)
	w.exec(fmt.Sprintf("ALTER ROLE %s PASSWORD '%s'", role, password))

	config, err := pgx.ParseConfig(w.url)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server := strings.NewReplacer("bin/iam-relay", binary, "ferriskey@", owner+"@",
		"db.internal:5432/ferriskey", fmt.Sprintf("/%s?host=%s&port=%d", w.name, config.Host, config.Port))
	follow := func(line string) (output string, ok bool) {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(server.Replace(line))
		cmd := exec.Command(words[0], words[1:]...)
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PGPASSWORD=" + password}
		all, err := cmd.CombinedOutput()
		return string(all), err == nil
	}
	var ran []string
	for _, line := range block(t, "sh", "iam-relay check") {
		if strings.HasPrefix(line, "make ") || strings.HasPrefix(line, "bin/iam-relay run") {
			continue
		}
		ran = append(ran, strings.Fields(line)[1])
		output, ok := follow(line)
		if !ok || strings.Contains(output, "✗") {
			t.Fatalf("%s\n%s", line, output)
		}
	}
	if got := strings.Join(ran, " "); got != "init setup check" {
		t.Errorf("the steps are %s", got)
	}
	cmd := exec.Command(binary, "run")
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PGPASSWORD=" + password, "IAM_RELAY__ADMIN__LISTEN=127.0.0.1:0"} // another relay may run on this machine
	w.config = filepath.Join(dir, "config.toml")
	w.begin(cmd).waitFor("streaming the WAL")
	output, ok := follow("bin/iam-relay check")
	if !ok || strings.ContainsAny(output, "✗—") {
		t.Errorf("check beside the running relay:\n%s", output)
	}
}
