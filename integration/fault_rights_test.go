package integration_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A right that the relay's role needs is taken from it while it works, and given back later. The relay stops, and says what to
// do; started again, it goes on where it was.
func TestFault_RightsRevoked(t *testing.T) {
	t.Parallel()
	const (
		endWalsender = `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{name}'`
		endAll       = `SELECT pg_terminate_backend(pid)` + relaysOwn
	)
	for name, test := range map[string]struct {
		fault, revoke, end, give, says string
	}{
		"replication": {
			"REPLICATION", `ALTER ROLE {role} NOREPLICATION`, endWalsender,
			`ALTER ROLE {role} REPLICATION`, `ALTER ROLE "{name}" REPLICATION`,
		},
		"select": {
			"SELECT on a mapped table", `REVOKE SELECT ON users FROM {role}`, endWalsender,
			`GRANT SELECT ON users TO {role}`, `GRANT SELECT`,
		},
		"usage": {
			"USAGE of the IAM's schema", `REVOKE USAGE ON SCHEMA public FROM PUBLIC, {role}`, endWalsender,
			`GRANT USAGE ON SCHEMA public TO PUBLIC, {role}`, `GRANT USAGE ON SCHEMA "public"`,
		},
		"outbox": {
			"INSERT into the outbox's tables", `REVOKE INSERT ON relay.event FROM {role}`, ``,
			`GRANT INSERT ON relay.event TO {role}`, `GRANT ALL ON ALL TABLES IN`,
		},
		"login": {
			"LOGIN", `ALTER ROLE {role} NOLOGIN`, endAll,
			`ALTER ROLE {role} LOGIN`, `check user and password in the URL`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := newWorld(t).try("role: " + test.fault + " revoked, given back when the relay has stopped")
			run := func(sql string) {
				t.Helper()
				tr.exec(strings.NewReplacer("{role}", pgx.Identifier{tr.name}.Sanitize(), "{name}", tr.name).Replace(tr.inOutbox(sql)))
			}
			tr.asRole(tr.cfg)
			p := tr.start()
			tr.begin()
			tr.inject(strength(10, 1, 1), func() {
				run(test.revoke)
				if test.end != "" {
					run(test.end)
				}
				want := strings.ReplaceAll(test.says, "{name}", tr.name)
				if said := p.fails(); !strings.Contains(said, want) {
					t.Errorf("the relay does not say %q: %s", want, said)
				}
				run(test.give)
				p = tr.start()
			})
			tr.end(p)
		})
	}
}

// asRole lets the relay work as a role that has what it needs and no more. Its owner makes the publication, as the relay asks.
func (w *world) asRole(cfg *config) {
	w.t.Helper()
	role := pgx.Identifier{w.name}.Sanitize()
	for _, sql := range []string{
		`CREATE ROLE ` + role + ` LOGIN REPLICATION`,
		`GRANT USAGE ON SCHEMA public TO ` + role,
		`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ` + role,
		`CREATE SCHEMA ` + role + ` AUTHORIZATION ` + role,
	} {
		w.exec(sql)
	}
	at, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	at.User = url.User(w.name)
	cfg.set("source.url", at.String())
	said := launch(w.t, cfg).fails()
	_, statement, found := strings.Cut(said, " run: ")
	if !found {
		w.t.Fatalf("the relay does not say how the publication is made: %s", said)
	}
	w.exec(statement)
}
