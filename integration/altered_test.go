package integration_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// plainMapping is of an IAM with tenants, documents with a column that may be missing, and notes, which may be missing.
const plainMapping = `schema = "public"
tenant = "orgs"

[tables.orgs]
key     = ["id"]
columns = ["name"]

[tables.docs]
key              = ["id"]
parents          = { org = "orgs" }
columns          = ["n", "opt"]
optional_columns = ["opt"]

[tables.notes]
optional = true
key      = ["id"]
parents  = { org = "orgs" }
columns  = ["text"]
`

const plainTables = `
CREATE TABLE orgs (id text PRIMARY KEY, name text);
CREATE TABLE docs (id text PRIMARY KEY, org text REFERENCES orgs, n int, opt text);
INSERT INTO orgs VALUES ('o', 'Org');
INSERT INTO docs VALUES ('1', 'o', 1, 'a'), ('2', 'o', 2, 'b')`

// plain is a database with tables that the test alters, and the events that must come of it.
type plain struct {
	*world
	cfg    *config
	store  *pgxpool.Pool // of the outbox
	events []string
}

func newPlain(t *testing.T) *plain {
	t.Helper()
	return plainAt(t, clustertest.Database(t))
}

func plainAt(t *testing.T, url string) *plain {
	t.Helper()
	w := &world{t: t, url: url, name: fmt.Sprintf("relay_%d", worlds.Add(1)), hook: startReceiver(t)}
	w.db = connect(t, url)
	w.exec(plainTables)
	p := &plain{world: w, store: w.db}
	p.cfg = w.config().set("mapping.preset", "").set("mapping.file", p.mapping("docs", "notes"))
	return p
}

// mapping writes a mapping file with events of the tables.
func (p *plain) mapping(tables ...string) string {
	p.t.Helper()
	text := strings.ReplaceAll(plainMapping, "tables.docs", "tables."+tables[0])
	for _, table := range tables {
		for _, op := range []string{"insert", "update", "delete"} {
			text += fmt.Sprintf("\n[tables.%s.events.\"%s.%sd\"]\non = %q\n", table, table, strings.TrimSuffix(op, "e"), op)
		}
	}
	text = strings.NewReplacer(".insertd", ".created", ".updatd", ".updated", ".deletd", ".deleted").Replace(text)
	path := filepath.Join(p.t.TempDir(), "mapping.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return path
}

// emits waits until the outbox has exactly these events besides the earlier ones, in any order.
func (p *plain) emits(events ...string) {
	p.t.Helper()
	p.events = append(p.events, events...)
	slices.Sort(p.events)
	var got []string
	eventually(p.t, "as many events as expected", func() (bool, error) {
		got = p.emitted()
		return len(got) >= len(p.events), nil
	})
	if diff := cmp.Diff(p.events, got); diff != "" {
		p.t.Fatalf("events (-want +got):\n%s", diff)
	}
}

func (p *plain) emitted() []string {
	rows := value[[]string](p.t, p.store, p.inOutbox(`SELECT coalesce(array_agg(name || ' ' || resource ORDER BY name || ' ' || resource COLLATE "C"), '{}') FROM relay.event`))
	slices.Sort(rows)
	return rows
}

// settled inserts a document and waits for it, so that all that was committed before has been read.
func (p *plain) settled(id string) {
	p.t.Helper()
	p.exec(`INSERT INTO docs (id, org, n) VALUES ($1, 'o', 0)`, id)
	p.emits("docs.created " + id)
}

// agrees checks that the mirror has what the table has.
func (p *plain) agrees(table string) {
	p.t.Helper()
	sql := `SELECT coalesce(jsonb_agg(j ORDER BY j), '[]')::text FROM (SELECT jsonb_strip_nulls(%s) AS j FROM %s) AS t`
	there := value[string](p.t, p.db, fmt.Sprintf(sql, `jsonb_build_object('id', id, 'org', org, 'n', n::text, 'opt', opt)`, table))
	var mirrored string
	eventually(p.t, "the mirror has what the table has", func() (bool, error) {
		mirrored = value[string](p.t, p.store, p.inOutbox(fmt.Sprintf(sql, `fields::jsonb`, `relay.mirror WHERE table_name = '`+table+`'`)))
		return mirrored == there, nil
	})
}

// A mapped table is known by its OID. Whatever its name is meanwhile, and whatever has its name, its changes become events, while the
// relay runs and while it does not.
func TestAltered_TableUnderAnotherName(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sql    []string
		events []string
	}{
		"renamed and back in one transaction": {
			[]string{`BEGIN; ALTER TABLE docs RENAME TO d9; INSERT INTO d9 VALUES ('3', 'o', 3); UPDATE d9 SET n = 9 WHERE id = '1'; DELETE FROM d9 WHERE id = '2'; ALTER TABLE d9 RENAME TO docs; COMMIT`},
			[]string{"docs.created 3", "docs.updated 1", "docs.deleted 2"},
		},
		"moved to another schema and back": {
			[]string{`BEGIN; CREATE SCHEMA s; ALTER TABLE docs SET SCHEMA s; INSERT INTO s.docs VALUES ('3', 'o', 3); ALTER TABLE s.docs SET SCHEMA public; COMMIT`, `UPDATE docs SET n = 4 WHERE id = '3'`},
			[]string{"docs.created 3", "docs.updated 3"},
		},
		"exchanged for a new table, which takes its rows": {
			[]string{`BEGIN; ALTER TABLE docs RENAME TO old; CREATE TABLE docs (LIKE old INCLUDING ALL); INSERT INTO docs SELECT * FROM old; DELETE FROM old; INSERT INTO docs VALUES ('3', 'o', 3); DROP TABLE old; COMMIT`},
			[]string{"docs.created 3"},
		},
		"dropped and created again": {
			[]string{`DELETE FROM docs WHERE id = '2'`, `BEGIN; DROP TABLE docs; CREATE TABLE docs (id text PRIMARY KEY, org text, n int, opt text); INSERT INTO docs VALUES ('1', 'o', 5, 'a'); COMMIT`},
			[]string{"docs.deleted 2", "docs.updated 1"},
		},
		"lent its name to another one that is published": {
			[]string{`BEGIN; ALTER TABLE docs RENAME TO d9; CREATE TABLE docs (id text PRIMARY KEY, org text, n int, opt text); ALTER PUBLICATION $pub ADD TABLE docs; INSERT INTO docs VALUES ('x', 'o', 1); INSERT INTO d9 VALUES ('3', 'o', 3); DROP TABLE docs; ALTER TABLE d9 RENAME TO docs; COMMIT`},
			[]string{"docs.created 3"},
		},
		"exchanged with another mapped one": {
			[]string{
				`CREATE TABLE notes (id text PRIMARY KEY, org text, text text, n int, opt text)`, `ALTER TABLE docs ADD COLUMN text text`, `INSERT INTO notes VALUES ('7', 'o', 'x')`, `$wait notes.created 7`,
				`BEGIN; ALTER TABLE docs RENAME TO x; ALTER TABLE notes RENAME TO docs; ALTER TABLE x RENAME TO notes; COMMIT`,
			},
			[]string{"docs.created 7", "docs.deleted 1", "docs.deleted 2", "notes.deleted 7", "notes.created 1", "notes.created 2"},
		},
	} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, relay away: %t", name, away), func(t *testing.T) {
				t.Parallel()
				p := newPlain(t)
				relay := start(t, p.cfg)
				for i, sql := range test.sql {
					if event, ok := strings.CutPrefix(sql, "$wait "); ok {
						p.emits(event)
						continue
					}
					if away && i == len(test.sql)-1 {
						relay.stop()
					}
					p.exec(strings.ReplaceAll(sql, "$pub", p.name))
				}
				if away {
					start(t, p.cfg)
				}
				p.emits(test.events...)
				p.settled("last")
				p.agrees("docs")
			})
		}
	}
}

// A table that was renamed for good stops the relay, with a remedy; each of the two that it names loses nothing.
func TestAltered_TableRenamedForGood(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprintf("renamed back: %t", back), func(t *testing.T) {
			t.Parallel()
			p := newPlain(t)
			relay := start(t, p.cfg)
			p.settled("first")
			p.exec(`ALTER TABLE docs RENAME TO papers`)
			p.exec(`UPDATE papers SET n = 7 WHERE id = '1'`)
			if said := relay.fails(); !strings.Contains(said, "was renamed to public.papers; rename it back, or") {
				t.Errorf("it says: %s", said)
			}
			p.exec(`DELETE FROM papers WHERE id = '2'`)
			if back {
				p.exec(`ALTER TABLE papers RENAME TO docs`)
				start(t, p.cfg)
				p.emits("docs.updated 1", "docs.deleted 2")
				return
			}
			start(t, p.cfg.set("mapping.file", p.mapping("papers", "notes")))
			p.emits("papers.updated 1", "papers.deleted 2")
		})
	}
}

// While the table of the tenants is another one than the relay streams, a new tenant is not in the WAL that it reads. Its events reach it
// all the same.
func TestAltered_TenantOfATableThatWasReplaced(t *testing.T) {
	t.Parallel()
	const replace = `BEGIN; ALTER TABLE docs DROP CONSTRAINT docs_org_fkey; ALTER TABLE orgs RENAME TO was; CREATE TABLE orgs (LIKE was INCLUDING ALL);
		INSERT INTO orgs SELECT * FROM was; DROP TABLE was; COMMIT`
	for name, test := range map[string]struct {
		away  bool
		limit string
		rows  int
	}{
		"while the relay runs":                    {false, "64MiB", 1},
		"while the relay runs, large transaction": {false, "64KiB", 3000},
		"while no relay runs":                     {true, "64MiB", 1},
		"while no relay runs, large transaction":  {true, "64KiB", 3000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPlain(t)
			p.cfg.set("source.memory_limit", test.limit)
			relay := start(t, p.cfg)
			p.settled("before")
			if test.away {
				relay.stop()
			}
			p.exec(replace)
			p.exec(`INSERT INTO orgs VALUES ('p', 'New')`)
			p.exec(`INSERT INTO docs SELECT 'n' || i, 'p', i FROM generate_series(1, $1) AS i`, test.rows)
			if test.away {
				start(t, p.cfg)
			}
			var tenants []string
			eventually(t, "the events are in the outbox", func() (bool, error) {
				tenants = value[[]string](t, p.store, p.inOutbox(`SELECT coalesce(array_agg(tenant), '{}') FROM relay.event WHERE resource LIKE 'n%'`))
				return len(tenants) >= test.rows, nil
			})
			slices.Sort(tenants)
			if got := slices.Compact(tenants); !slices.Equal(got, []string{"p"}) {
				t.Errorf("the events are for the tenants %q, want only \"p\"", got)
			}
		})
	}
}
