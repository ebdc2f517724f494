package integration_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// The outbox's server is down while the IAM goes on, and the IAM's own server can be shut down meanwhile.
func TestFault_OutboxDown(t *testing.T) {
	t.Parallel()
	source, store := newServer(t), newServer(t)
	tr := inhabit(t, source.URL("postgres")).try("outbox: its server is down for a minute, and the source's is shut down meanwhile")
	tr.elsewhere(store.URL("postgres"))
	p := tr.start()
	tr.begin()
	tr.inject(strength(2, 1, 1), func() {
		if err := store.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		p.waitFor(within(t), "outbox failed; retrying")
		tr.lasts(strength(time.Minute, 8*time.Second, 4*time.Second))
		began := time.Now()
		if err := source.Stop("fast"); err != nil { // an error after half a minute
			t.Fatal(err)
		}
		t.Logf("the source was shut down within %s", time.Since(began))
		tr.restart(source, store)
		tr.outbox.Reset()
	})
	tr.end(p)
}

// withRole lets the relay reach the outbox, in a database of its own, as a role with a setting that only a superuser may give. The
// role goes with the server.
func (tr *trial) withRole(setting string) {
	tr.t.Helper()
	role := pgx.Identifier{tr.name}.Sanitize()
	tr.exec(`CREATE ROLE ` + role + ` LOGIN`)
	straight := clustertest.Database(tr.t)
	tr.elsewhere(straight)
	at, err := url.Parse(straight)
	if err != nil {
		tr.t.Fatal(err)
	}
	database := pgx.Identifier{strings.TrimPrefix(at.Path, "/")}.Sanitize()
	tr.exec(`GRANT CREATE ON DATABASE ` + database + ` TO ` + role)
	tr.exec(`ALTER ROLE ` + role + ` SET ` + setting)
	at.User = url.User(tr.name)
	tr.cfg.set("outbox.url", at.String())
}

// The outbox's database refuses commits for reasons that are nobody's fault, and pass. What the settings of a role would cause is
// raised by a trigger, since those do not reach the relay.
func TestFault_OutboxRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault, code string
		refuse      func(tr *trial, enough func() bool)
	}{
		"serialization": {"a serialization failure", "40001", func(tr *trial, enough func() bool) { tr.raise("40001", enough) }},
		"lock_timeout":  {"lock_timeout", "55P03", func(tr *trial, enough func() bool) { tr.raise("55P03", enough) }},
		"deadlock": {"a deadlock, of which the relay is the victim", "40P01", func(tr *trial, enough func() bool) {
			tr.obstruct(`LOCK TABLE relay.mirror IN SHARE ROW EXCLUSIVE MODE`, enough)
		}},
		"cancel": {"a statement is cancelled", "57014", func(tr *trial, enough func() bool) {
			tr.obstruct(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))`, enough)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newWorld(t).try(fmt.Sprintf("outbox: %s (SQLSTATE %s)", test.fault, test.code))
			tr.withRole(`deadlock_timeout = '2s'`)
			p := tr.start()
			tr.begin()
			tr.inject(strength(20, 2, 1), func() {
				before := p.count(test.code)
				test.refuse(tr, func() bool { return p.count(test.code) > before })
			})
			tr.end(p)
		})
	}
}

// raise has every commit of the relay fail with a SQLSTATE until it has had enough.
func (tr *trial) raise(code string, enough func() bool) {
	tr.t.Helper()
	exec := func(sql string) {
		tr.t.Helper()
		if _, err := tr.outbox.Exec(within(tr.t), tr.inOutbox(sql)); err != nil {
			tr.t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(fmt.Sprintf(`CREATE OR REPLACE FUNCTION relay.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused' USING ERRCODE = '%s'; END $$`, code))
	exec(`CREATE TRIGGER refuse BEFORE UPDATE ON relay.position FOR EACH ROW EXECUTE FUNCTION relay.refuse()`)
	eventually(tr.t, "the relay has had its error", func() (bool, error) { return enough(), nil })
	exec(`DROP TRIGGER refuse ON relay.position`)
}

// count is how many errors of a SQLSTATE the relay has printed.
func (p *process) count(code string) int {
	printed, _ := p.log.read()
	return strings.Count(printed, "SQLSTATE "+code)
}

// obstruct holds the row of the outbox's position until the relay waits for it, does something, and releases it when the
// relay has had its error.
func (tr *trial) obstruct(then string, enough func() bool) {
	tr.t.Helper()
	ctx := within(tr.t)
	conn, err := pgx.Connect(ctx, tr.outbox.Config().ConnString())
	if err != nil {
		tr.t.Fatal(err)
	}
	defer conn.Close(ctx)
	exec := func(sql string) {
		tr.t.Helper()
		if _, err := conn.Exec(ctx, tr.inOutbox(sql)); err != nil {
			tr.t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`SET deadlock_timeout = '50s'`) // so that another one is the victim
	exec(`BEGIN`)
	exec(`UPDATE relay.position SET epoch = epoch`)
	inCommit := strings.HasPrefix(then, "LOCK") // else it may also wait to begin a term
	eventually(tr.t, "the relay waits", func() (waits bool, err error) {
		err = tr.outbox.QueryRow(ctx, `SELECT count(*) > 0 FROM pg_stat_activity
			WHERE $1::int = ANY (pg_blocking_pids(pid)) AND (query LIKE '%advance%' OR NOT $2)`, conn.PgConn().PID(), inCommit).Scan(&waits)
		return waits, err
	})
	if then != "" {
		exec(then)
	}
	eventually(tr.t, "the relay has had its error", func() (bool, error) { return enough(), nil })
}
