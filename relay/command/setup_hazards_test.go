package command_test

import (
	"fmt"
	"strings"
	"testing"
)

// statements are the lines of printed SQL that are not comments.
func statements(sql string) string {
	var lines []string
	for line := range strings.SplitSeq(sql, "\n") {
		if !strings.HasPrefix(line, "--") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// Every command finds what would make statements of the IAM fail before it changes anything, with the same words, and the printed
// SQL can be run without harm.
func TestSetup_HarmsNoStatementOfTheIAM(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sql, problem string }{
		"no identity": {`ALTER TABLE user_role DROP CONSTRAINT user_role_pkey`, "table public.user_role: its replica identity (DEFAULT) does not include the key column"},
		"deferrable key": {
			`ALTER TABLE user_role DROP CONSTRAINT user_role_pkey, ADD PRIMARY KEY (user_id, role_id) DEFERRABLE; CREATE UNIQUE INDEX ON user_role (user_id, role_id)`,
			"table public.user_role: its primary key is deferrable, so PostgreSQL does not use it as replica identity: while the table is published, UPDATE and DELETE fail",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.exec(test.sql)
			for _, arguments := range [][]string{{"setup", "--print"}, {"setup"}, {"check"}, {"run"}} {
				r := w.run(arguments[0], arguments[1:]...)
				if r.code != 1 || !strings.Contains(r.err+strings.ReplaceAll(r.out, "public.", "table public."), test.problem) {
					t.Errorf("%v: exit code %d, want 1 and %q in:\n%s\n%s", arguments, r.code, test.problem, r.out, r.err)
				}
				if arguments[0] == "setup" && !strings.Contains(r.err, test.problem) {
					t.Errorf("%v does not name the problem on stderr: %s", arguments, r.err)
				}
				if len(arguments) == 2 {
					w.exec(statements(strings.ReplaceAll(strings.ReplaceAll(r.out, "NAME", w.name), "lock_timeout", "lock_timeout")))
				}
				w.exec(`UPDATE user_role SET role_id = role_id; DELETE FROM user_role`)
			}
			if w.exists(`SELECT FROM pg_publication`) {
				t.Error("a publication was made")
			}
		})
	}
}

// Inheritance children are no obstacle, before and after, and teardown knows its publication all the same.
func TestSetup_TablesWithChildren(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`CREATE TABLE users_archive (archived timestamptz) INHERITS (users)`)
	const warning = "table public.users: tables inherit from it (public.users_archive), and their rows are not read; map those tables as well if their rows matter"
	printed := w.run("setup", "--print")
	if printed.code != 0 || printed.err != "iam-relay: warning: "+warning+"\n" {
		t.Errorf("exit code %d, stderr %q", printed.code, printed.err)
	}
	w.exec(statements(strings.ReplaceAll(printed.out, "NAME", w.name)))
	w.exec(`UPDATE users SET enabled = true; DELETE FROM users`)
	w.run("setup").has("WARNING: "+warning, "publication NAME: has all mapped tables")
	w.run("check").has("! tables       " + strings.TrimPrefix(warning, "table "))
	w.start().stop()
	// As a publication created without ONLY, with children that were added later.
	w.exec(fmt.Sprintf(`ALTER PUBLICATION %s DROP TABLE ONLY users; ALTER PUBLICATION %s ADD TABLE users`, w.name, w.name))
	w.start().stop() // puts it right
	w.exec(`UPDATE users SET enabled = true; DELETE FROM users`)
	w.exec(`ALTER TABLE users_archive ADD PRIMARY KEY (id)`)
	w.exec(fmt.Sprintf(`ALTER PUBLICATION %s ADD TABLE ONLY users_archive`, w.name))
	w.run("teardown", "--yes").done("dropped slot NAME\ndropped publication NAME\ndropped schema NAME\n")
}

// Row-level security is found for a role that does not exist yet.
func TestSetupPrint_RowLevelSecurity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`ALTER TABLE users ENABLE ROW LEVEL SECURITY`)
	role := w.pretend()
	r := w.run("setup", "--print", "--url", w.url)
	r.has("-- Row-level security would hide rows of public.users from it.", `ALTER ROLE "`+strings.ReplaceAll(role, w.name, "NAME")+`" BYPASSRLS;`)
	w.forget(role)
	w.exec(`CREATE ROLE ` + role + ` LOGIN REPLICATION`)
	r = w.run("setup", "--url", w.url)
	if want := `table public.users: row-level security hides rows from role ROLE, so the initial copy would miss them; ask an administrator to run: ALTER ROLE "ROLE" BYPASSRLS`; r.code != 1 || !strings.Contains(r.err, want) {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
}
