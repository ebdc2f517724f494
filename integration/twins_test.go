package integration_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// twins are two relays that read the same database, one of which keeps next to nothing of a transaction in memory, the other
// everything. Whatever happens, their outboxes must be equal: events, order, bodies, ids, receivers, mirrors.
type twins struct {
	t       testing.TB
	db      *pgxpool.Pool
	conn    *pgx.Conn
	outbox  [2]string // schemas
	endings int       // of what is compared
	hook    string    // where webhooks of the IAM lead to
}

// twinsSchema has rows of every kind: with large values that an UPDATE leaves alone, with keys of several columns, with
// references to themselves, with children, with soft deletes, and with the replica identity FULL.
const twinsSchema = `
	CREATE TABLE orgs (id text PRIMARY KEY, name text);
	CREATE TABLE docs (id text PRIMARY KEY, org text, parent text, n int, big text);
	CREATE TABLE items (doc text, pos text, note text, long text, PRIMARY KEY (pos, doc));
	CREATE TABLE tags (id text PRIMARY KEY, doc text, label text);
	CREATE TABLE people (id text PRIMARY KEY, org text, boss text, name text, photo text, gone boolean NOT NULL DEFAULT false);
	CREATE TABLE log (id text PRIMARY KEY, org text, line text);
	CREATE TABLE seats (id text NOT NULL UNIQUE, org text, label text, plan text);
	CREATE TABLE hooks (id text PRIMARY KEY, org text, url text);
	CREATE TABLE hook_events (id text PRIMARY KEY, hook text, event text);
	ALTER TABLE seats REPLICA IDENTITY FULL;
	ALTER TABLE docs ALTER big SET STORAGE EXTERNAL;
	ALTER TABLE items ALTER long SET STORAGE EXTERNAL;
	ALTER TABLE people ALTER photo SET STORAGE EXTERNAL;
	ALTER TABLE seats ALTER plan SET STORAGE EXTERNAL`

var twinsTables = map[string][]string{ // with their columns, the key first
	"orgs": {"id", "name"}, "docs": {"id", "org", "parent", "n", "big"}, "items": {"pos", "doc", "note", "long"}, "tags": {"id", "doc", "label"},
	"people": {"id", "org", "boss", "name", "photo", "gone"}, "log": {"id", "org", "line"}, "seats": {"id", "org", "label", "plan"},
	"hooks": {"id", "org", "url"}, "hook_events": {"id", "hook", "event"},
}

const twinsMapping = `
tenant = "orgs"

[tables.orgs]
key     = ["id"]
columns = ["name"]

[tables.docs]
key     = ["id"]
parents = { org = "orgs", parent = "docs" }
tenant  = "org"
columns = ["n", "big"]
collect = { items = { table = "items", by = "doc" } }
children.tags = { table = "tags", by = "doc", values = "label" }

[tables.items]
key     = ["pos", "doc"]
parents = { doc = "docs" }
columns = ["note", "long"]

[tables.tags]
key     = ["id"]
parents = { doc = "docs" }
columns = ["label"]

[tables.people]
key     = ["id"]
parents = { org = "orgs", boss = "people" }
tenant  = "org"
columns = ["name", "photo", "gone"]
deleted = "gone"

[tables.log]
key     = ["id"]
parents = { org = "orgs" }
columns = ["line"]

[tables.seats]
key     = ["id"]
parents = { org = "orgs" }
columns = ["label", "plan"]

[tables.hooks]
key     = ["id"]
parents = { org = "orgs" }
columns = ["url"]
collect = { events = { table = "hook_events", by = "hook", column = "event" } }

[tables.hook_events]
key     = ["id"]
parents = { hook = "hooks" }
columns = ["event"]

[webhooks]
table  = "hooks"
url    = "url"
events = { table = "hook_events", column = "event", by = "hook" }

[tables.orgs.events."org.created"]
on = "insert"
[tables.orgs.events."org.updated"]
on = "update"
[tables.orgs.events."org.deleted"]
on = "delete"

[tables.docs.events."doc.created"]
on = "insert"
[tables.docs.events."doc.updated"]
on = "update"
[tables.docs.events."doc.numbered"]
on = "update"
changed = ["n"]
when = "old.n != row.n and parent('parent').n != row.n"
data = ["id", "n", "parent.n as above", "big"]
[tables.docs.events."doc.deleted"]
on = "delete"
[tables.docs.events."docs.deleted"]
on = "delete"
group = { min = 3 }
instead_of = ["doc.deleted"]
data = ["id", "items", "tags", "parent"]

[tables.items.events."item.added"]
on = "insert"
resource_id = "doc"
absorb = true
data = ["pos", "note", "long", "document"]
include = { document = "doc" }
[tables.items.events."item.changed"]
on = "update"
resource_id = "doc"
[tables.items.events."item.removed"]
on = "delete"
resource_id = "doc"
data = ["pos", "note", "document"]
include = { document = "doc" }

[tables.tags.events."tag.added"]
on = ["insert", "update"]
[tables.tags.events."tag.removed"]
on = "delete"
unless_followed = { on = "insert", same = ["doc", "label"], within = "1h" }

[tables.people.events."person.created"]
on = "insert"
absorb = true
[tables.people.events."person.updated"]
on = "update"
data = ["id", "name", "photo", "boss.name as chief"]
[tables.people.events."person.deleted"]
on = "delete"

[tables.log.events."log.written"]
on = ["insert", "update"]
[tables.log.events."log.removed"]
on = "delete"
group = { min = 2 }
data = "id"

[tables.seats.events."seat.changed"]
on = ["insert", "update"]
[tables.seats.events."seat.freed"]
on = "delete"

[tables.hooks.events."hook.changed"]
on = ["insert", "update", "delete"]
`

// newTwins starts them on a new database.
func newTwins(t testing.TB, url string) *twins {
	t.Helper()
	tw := &twins{t: t, db: connect(t, url)}
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(endpoint.Close)
	tw.hook = endpoint.URL
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	tw.conn = conn
	tw.exec(twinsSchema)
	file := filepath.Join(t.TempDir(), "mapping.toml")
	if err := os.WriteFile(file, []byte(twinsMapping), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, limit := range []string{"64KiB", "1GiB"} {
		name := fmt.Sprintf("twin_%d", worlds.Add(1))
		tw.outbox[i] = name
		c := &config{values: map[string]any{}}
		c.set("source.url", url).set("source.slot", name).set("source.publication", name).set("source.memory_limit", limit).
			set("outbox.schema", name).set("mapping.preset", "").set("mapping.file", file).set("admin.listen", "127.0.0.1:0").
			set("delivery.allow_http", true).set("delivery.allow_networks", []string{"127.0.0.0/8"})
		launch(t, c).waitFor(within(t), "streaming the WAL")
	}
	return tw
}

func (tw *twins) exec(sql string, arguments ...any) {
	tw.t.Helper()
	if _, err := tw.conn.Exec(tw.t.Context(), sql, arguments...); err != nil {
		tw.t.Fatalf("%.200s: %v", sql, err)
	}
}

// agree waits until both relays have read everything, and compares what they have made of it.
func (tw *twins) agree() {
	tw.t.Helper()
	tw.endings++
	ending := fmt.Sprint("ending ", tw.endings)
	tw.exec(`INSERT INTO log VALUES ($1, 'nowhere', 'everything before is to be compared')`, ending)
	for i := range tw.outbox {
		tw.reads(i, ending)
	}
	for what, sql := range map[string]string{
		"events":               `SELECT concat_ws(' ', id, webhook_id, name, tenant, resource, occurred, lsn, ordinal, convert_from(body, 'UTF8'), (SELECT array_agg(w.origin || w.key ORDER BY w.id) FROM relay.webhook w WHERE w.id = ANY (e.webhooks))) FROM relay.event e ORDER BY id`,
		"held events":          `SELECT concat_ws(' ', lsn, ordinal, webhook_id, name, tenant, resource, occurred, cancel_key, due, convert_from(body, 'UTF8'), (SELECT array_agg(w.origin || w.key ORDER BY w.id) FROM relay.webhook w WHERE w.id = ANY (h.webhooks))) FROM relay.delayed_event h ORDER BY lsn, ordinal`,
		"webhooks":             `SELECT concat_ws(' ', id, origin, key, tenant, url, events, enabled, removed_after) FROM relay.webhook ORDER BY id`,
		"mirrors":              `SELECT concat_ws(' ', table_name, key, parent, fields) FROM relay.mirror ORDER BY table_name, key`,
		"what should be empty": `SELECT key FROM relay.mirror_before`,
	} {
		small, large := tw.read(tw.in(0, sql)), tw.read(tw.in(1, sql))
		if diff := cmp.Diff(large, small, cmp.Transformer("lines", brief)); diff != "" {
			tw.t.Fatalf("%s (-with much memory +with little):\n%s", what, diff)
		}
		if what == "what should be empty" && len(small) > 0 {
			tw.t.Fatalf("rows %v are kept as they were", small)
		}
	}
	tw.likeTables()
}

// reads waits until a relay has read an event, for as long as it goes on: on a busy machine a large transaction may take minutes.
func (tw *twins) reads(which int, ending string) {
	tw.t.Helper()
	began := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if value[bool](tw.t, tw.db, tw.in(which, `SELECT EXISTS (SELECT FROM relay.event WHERE resource = $1)`), ending) {
			return
		}
		if time.Since(began) > 5*patience {
			tw.t.Fatalf("relay %s has not read everything after %s", tw.outbox[which], 5*patience)
		}
	}
}

// brief shortens lines for a diff, so that it can be read; lines that differ still do.
func brief(lines []string) []string {
	short := make([]string, len(lines))
	for i, line := range lines {
		short[i] = line
		if len(line) > 400 {
			short[i] = fmt.Sprintf("%s … (%d bytes, %x)", line[:400], len(line), checksum(line))
		}
	}
	return short
}

// likeTables compares the mirror with the tables that it is of.
func (tw *twins) likeTables() {
	tw.t.Helper()
	for table, columns := range twinsTables {
		fields := make([]string, len(columns))
		for i, c := range columns {
			fields[i] = "'" + c + "', t." + c + "::text"
		}
		rows := tw.read(`SELECT jsonb_build_object(` + strings.Join(fields, ", ") + `)::text FROM ` + table + ` t`)
		mirrored := tw.read(tw.in(0, `SELECT fields::jsonb::text FROM relay.mirror WHERE table_name = '`+table+`'`))
		for i := range mirrored { // bool is written as PostgreSQL's text format has it
			mirrored[i] = strings.NewReplacer(`"gone": "t"`, `"gone": "true"`, `"gone": "f"`, `"gone": "false"`).Replace(mirrored[i])
		}
		slices.Sort(rows)
		slices.Sort(mirrored)
		if diff := cmp.Diff(rows, mirrored, cmp.Transformer("lines", brief)); diff != "" {
			tw.t.Fatalf("the mirror of %s (-table +mirror):\n%s", table, diff)
		}
	}
}

// in puts the schema of a relay's outbox into a query.
func (tw *twins) in(which int, sql string) string {
	return outboxSchema.ReplaceAllString(sql, tw.outbox[which]+".")
}

func (tw *twins) read(sql string) []string {
	tw.t.Helper()
	rows, err := tw.db.Query(tw.t.Context(), sql)
	if err != nil {
		tw.t.Fatalf("%s: %v", sql, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		tw.t.Fatalf("%s: %v", sql, err)
	}
	return lines
}
