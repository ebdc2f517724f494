package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// organizations is a database whose documents belong to organizations, by columns of the given types.
func organizations(t *testing.T, key, reference string) *plain {
	t.Helper()
	w := &world{t: t, url: clustertest.Database(t), name: fmt.Sprintf("relay_%d", worlds.Add(1)), hook: startReceiver(t)}
	w.db = connect(t, w.url)
	w.exec(`CREATE EXTENSION IF NOT EXISTS citext`)
	w.exec(fmt.Sprintf(`CREATE TABLE orgs (id %s PRIMARY KEY, name text); CREATE TABLE docs (id text PRIMARY KEY, org %s, n int, opt text)`, key, reference))
	p := &plain{world: w, store: w.db}
	p.cfg = w.config().set("mapping.preset", "").set("mapping.file", p.mapping("docs", "notes"))
	return p
}

// A reference and the key that it refers to are equal for the database and are written differently. The event has the tenant that
// the database means, its webhook hears it, and what goes with the tenant is absorbed.
func TestKeyEquality_ReferencesAreFound(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ key, reference, org, ref, tenant string }{
		"padded":           {"char(8)", "varchar(20) REFERENCES orgs ON DELETE CASCADE", "acme", "acme  ", "acme"},
		"padded otherwise": {"char(8)", "char(12) REFERENCES orgs ON DELETE CASCADE", "acme", "acme", "acme"},
		"another scale":    {"numeric(8,2)", "numeric(12,4) REFERENCES orgs ON DELETE CASCADE", "17", "17", "17"},
		"floating":         {"float8", "bigint REFERENCES orgs ON DELETE CASCADE", "1000000000000000000", "1000000000000000000", "1000000000000000000"},
		"uuid as text":     {"uuid", "text", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := organizations(t, test.key, test.reference)
			p.exec(fmt.Sprintf(`INSERT INTO orgs VALUES ('%s', 'Org')`, test.org))
			relay := start(t, p.cfg.webhook(p.hook, "/tenant", map[string]any{"tenant": test.tenant}))
			p.exec(fmt.Sprintf(`INSERT INTO docs VALUES ('1', '%s', 1), ('2', '%s', 2)`, test.ref, test.ref))
			p.exec(`UPDATE docs SET n = 3 WHERE id = '1'`)
			p.emits("docs.created 1", "docs.created 2", "docs.updated 1")
			p.until("all events have the tenant", `SELECT bool_and(tenant = $1) FROM relay.event`, test.tenant)
			var heard account
			for _, event := range []string{"docs.created 1", "docs.created 2", "docs.updated 1"} {
				name, id, _ := strings.Cut(event, " ")
				heard.add(expect(name, id, test.tenant))
			}
			heard.arrives(t, p.hook, "/tenant")
			relay.stop()
			start(t, p.cfg) // which reads the mirror
			p.exec(`BEGIN; DELETE FROM docs WHERE id = '2'; DELETE FROM orgs; DELETE FROM docs; COMMIT`)
			p.exec(fmt.Sprintf(`INSERT INTO orgs VALUES ('%s', 'Org')`, test.org))
			p.exec(fmt.Sprintf(`INSERT INTO docs VALUES ('3', '%s', 1)`, test.ref))
			p.emits("docs.created 3")
		})
	}
}

// A text that names a tenant which is not there is no tenant: the event is kept, counted and sent to nobody, until the row is there.
func TestKeyEquality_TenantWithoutARow(t *testing.T) {
	t.Parallel()
	p := organizations(t, "text", "text")
	relay := start(t, p.cfg.webhook(p.hook, "/tenant", map[string]any{"tenant": "acme"}).webhook(p.hook, "/all"))
	p.exec(`INSERT INTO docs VALUES ('1', 'acme', 1)`)
	p.emits("docs.created 1")
	p.until("the event has no tenant", `SELECT count(*) = 1 FROM relay.event WHERE tenant IS NULL AND webhooks = '{}'`)
	relay.metric("iam_relay_events_without_tenant_total 1")
	relay.waitFor(within(t), "tenant of an event not found")
	p.exec(`INSERT INTO orgs VALUES ('acme', 'Org')`)
	p.exec(`UPDATE docs SET n = 2`)
	p.emits("docs.updated 1")
	var heard account
	heard.add(expect("docs.updated", "1", "acme"))
	heard.arrives(t, p.hook, "/tenant")
	heard.arrives(t, p.hook, "/all")
}

// Where the database's locale decides what is equal, the reference is refused, with what to do: also while the relay runs.
func TestKeyEquality_LocaleIsRefused(t *testing.T) {
	t.Parallel()
	const says, remedy = "texts that differ in case are equal", "remove \"org\" from parents"
	p := organizations(t, "citext", "citext")
	if said := launch(t, p.cfg).fails(); !strings.Contains(said, says) || !strings.Contains(said, remedy) {
		t.Errorf("it says: %s", said)
	}
	p.exec(`ALTER TABLE docs ALTER COLUMN org TYPE text; ALTER TABLE orgs ALTER COLUMN id TYPE text`)
	relay := start(t, p.cfg)
	p.exec(`ALTER TABLE orgs ALTER COLUMN id TYPE citext; ALTER TABLE docs ALTER COLUMN org TYPE citext`)
	if said := relay.fails(); !strings.Contains(said, says) {
		t.Errorf("it says: %s", said)
	}
}
