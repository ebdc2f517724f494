package integration_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// check runs the relay's check, which must fail, and returns what it prints.
func (p *process) check() string {
	p.t.Helper()
	output, err := exec.CommandContext(within(p.t), binary, slices.Concat([]string{"check"}, p.cmd.Args[2:])...).CombinedOutput()
	if err == nil {
		p.t.Errorf("check finds nothing wrong:\n%s", output)
	}
	return string(output)
}

// unprivileged makes the relay's role one with the fewest rights, which may read the columns of documents that are there and no more.
func (p *plain) unprivileged(columns string) (role string) {
	p.t.Helper()
	p.asRole(p.cfg)
	role = pgx.Identifier{p.name}.Sanitize()
	p.exec(fmt.Sprintf(`REVOKE SELECT ON docs FROM %s; GRANT SELECT (%s) ON docs TO %s`, role, columns, role))
	return role
}

// An upgrade of the IAM adds an optional column and an optional table, which the relay's role may not read. The relay goes on, and says
// what is to be granted. When it is, what was written meanwhile becomes events.
func TestOptional_AddedWithoutGrant(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	p.exec(`ALTER TABLE docs DROP COLUMN opt`)
	role := p.unprivileged("id, org, n, ctid")
	relay := start(t, p.cfg)
	p.settled("first")
	p.exec(`ALTER TABLE docs ADD COLUMN opt text; CREATE TABLE notes (id text PRIMARY KEY, org text REFERENCES orgs, text text)`)
	relay.waitFor(within(t), "an optional table or column exists but cannot be used; treating it as absent")
	relay.metric("iam_relay_optional_inaccessible 2")
	p.exec(`INSERT INTO docs VALUES ('new', 'o', 1, 'x'); UPDATE docs SET opt = 'y' WHERE id = '1'; INSERT INTO notes VALUES ('n', 'o', 'text')`)
	p.emits("docs.created new")
	relay.ready(true)
	said := relay.check()
	for _, want := range []string{`GRANT SELECT ("opt") ON "public"."docs"`, `GRANT SELECT ("id", "org", "text", "ctid") ON "public"."notes"`, "optional, and treated as absent"} {
		if !strings.Contains(said, want) {
			t.Errorf("check does not say %q:\n%s", want, said)
		}
	}
	p.exec(fmt.Sprintf(`GRANT SELECT (opt) ON docs TO %s; GRANT SELECT ON notes TO %s`, role, role))
	p.exec(fmt.Sprintf(`ALTER PUBLICATION %s ADD TABLE ONLY notes`, role))
	p.emits("docs.updated new", "docs.updated 1", "notes.created n")
	relay.metric("iam_relay_optional_inaccessible 0")
	p.exec(`UPDATE docs SET opt = 'z' WHERE id = 'new'; UPDATE notes SET text = 'changed'`)
	p.emits("docs.updated new", "notes.updated n")
	p.agrees("docs")
}

// An optional table that appears while the relay runs and may publish it is read from then on, with the rows that were there first.
func TestOptional_TableAppears(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	start(t, p.cfg)
	p.settled("first")
	p.exec(`CREATE TABLE notes (id text PRIMARY KEY, org text, text text); INSERT INTO notes VALUES ('n', 'o', 'text')`)
	p.emits("notes.created n")
	p.exec(`UPDATE notes SET text = 'changed'; INSERT INTO notes VALUES ('m', 'o', 'text')`)
	p.emits("notes.updated n", "notes.created m")
}

// A column that had another name for a while, and whose values were changed under it, is compared, and the differences become events.
func TestOptional_ColumnRenamedAndBack(t *testing.T) {
	t.Parallel()
	for _, column := range []string{"opt", "n"} {
		for _, atOnce := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, in one transaction: %t", column, atOnce), func(t *testing.T) {
				t.Parallel()
				p := newPlain(t)
				p.unprivileged("id, org, n, opt, ctid")
				relay := start(t, p.cfg)
				p.settled("first")
				rename := fmt.Sprintf(`ALTER TABLE docs RENAME COLUMN %s TO other`, column)
				change := `UPDATE docs SET other = '7' WHERE id = '1'; INSERT INTO docs (id, org, other) VALUES ('3', 'o', '8')`
				back := fmt.Sprintf(`ALTER TABLE docs RENAME COLUMN other TO %s`, column)
				if atOnce {
					p.exec(rename + ";" + change + ";" + back)
				} else {
					p.exec(rename)
					p.exec(change)
					if column == "n" { // which is required
						relay.fails()
					} else {
						p.emits("docs.created 3") // without the column
					}
					p.exec(back)
					if column == "n" {
						start(t, p.cfg)
					}
				}
				if column == "opt" && !atOnce {
					p.emits("docs.updated 1", "docs.updated 3")
				} else {
					p.emits("docs.updated 1", "docs.created 3")
				}
				p.settled("last")
				p.agrees("docs")
			})
		}
	}
}

// Rights and statistics that change on mapped columns are none of the relay's business: it neither compares nor begins again.
func TestOptional_GrantsAndStatistics(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	role := p.unprivileged("id, org, n, opt, ctid")
	relay := start(t, p.cfg)
	p.settled("first")
	const fingerprint = `SELECT fingerprint FROM relay.mirror_table WHERE table_name = 'docs'`
	before := value[string](t, p.store, p.inOutbox(fingerprint))
	p.exec(fmt.Sprintf(`GRANT SELECT (n) ON docs TO %s; GRANT UPDATE (n) ON docs TO %s; ALTER TABLE docs ALTER COLUMN n SET STATISTICS 500; ANALYZE docs`, role, role))
	eventually(t, "the relay has seen the catalogue", func() (bool, error) { return value[string](t, p.store, p.inOutbox(fingerprint)) != before, nil })
	p.settled("last")
	relay.stop()
	printed, _ := relay.log.read()
	if n := strings.Count(printed, "streaming the WAL"); n != 1 {
		t.Errorf("%d sessions instead of one", n)
	}
	for _, unwanted := range []string{"restarting the replication session", "reconcil"} {
		if strings.Contains(printed, unwanted) {
			t.Errorf("the relay says %q", unwanted)
		}
	}
}
