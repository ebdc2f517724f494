package integration_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// twinCase is a transaction of a shape in which the two ways of reading a transaction once differed, or were both wrong.
type twinCase struct {
	name   string
	before string // committed first
	sql    string // one transaction
	// want are the events of the transaction, but of rows that are called other: name, resource, and what the body must contain.
	want []string
}

// long is a value that PostgreSQL keeps out of its row, and leaves out of the WAL where an UPDATE does not touch it.
func long(letter string) string { return "repeat('" + letter + "', 3000)" }

// filler makes a transaction too large for the memory of one of the relays, without an event.
const filler = `; INSERT INTO log SELECT 'filler' || i, 'o1', repeat('f', 400) FROM generate_series(1, 400) i; DELETE FROM log WHERE id LIKE 'filler%'`

var twinCases = []twinCase{
	{
		name: "keys that are passed on beside a TRUNCATE",
		before: `INSERT INTO docs VALUES ('1', 'o1', NULL, 0, ` + long("a") + `), ('2', 'o1', NULL, 0, ` + long("b") + `);
			INSERT INTO docs SELECT 'other' || i, 'o1', NULL, 0, 'x' FROM generate_series(1, 1100) i; INSERT INTO log VALUES ('l', 'o1', 'x')`,
		sql:  `TRUNCATE log; UPDATE docs SET n = 1; UPDATE docs SET id = 'new' WHERE id = '1'; UPDATE docs SET id = '1' WHERE id = '2'`,
		want: []string{"doc.updated 1 bbb", "doc.numbered 1 bbb", "doc.deleted 2 bbb", "doc.created new aaa"},
	},
	{
		name:   "the empty string as a key that a row leaves",
		before: `INSERT INTO docs VALUES ('', 'o1', NULL, 1, ` + long("a") + `)`,
		sql:    `UPDATE docs SET id = 'a' WHERE id = ''` + filler,
		want:   []string{"doc.deleted  aaa", "doc.created a aaa"},
	},
	{
		name:   "the empty string as a key that a row is given",
		before: `INSERT INTO docs VALUES ('a', 'o1', NULL, 1, ` + long("a") + `)`,
		sql:    `UPDATE docs SET id = '' WHERE id = 'a'; UPDATE docs SET n = 2 WHERE id = ''` + filler,
		want:   []string{"doc.deleted a aaa", "doc.created  \"n\":2"},
	},
	{
		name:   "the empty string as a key beside a TRUNCATE",
		before: `INSERT INTO docs VALUES ('', 'o1', NULL, 1, 'old')`,
		sql:    `TRUNCATE docs; INSERT INTO docs VALUES ('', 'o1', NULL, 1, 'new')`,
		want:   []string{"doc.updated  new"},
	},
	{
		name:   "children of a deleted row that went elsewhere, and others that came",
		before: `INSERT INTO docs VALUES ('a', 'o1', NULL, 1, 'x'), ('b', 'o1', NULL, 1, 'x'); INSERT INTO tags VALUES ('1', 'a', 'first'), ('2', 'b', 'second'), ('3', 'a', 'third')`,
		sql:    `UPDATE tags SET doc = 'b' WHERE id = '1'; UPDATE tags SET doc = 'a' WHERE id = '2'; INSERT INTO tags VALUES ('4', 'a', 'fourth'); DELETE FROM tags WHERE id = '3'; DELETE FROM docs WHERE id = 'a'` + filler,
		want:   []string{"tag.added 1 first", `doc.updated b "tags":["first"]`, "tag.added 2 second", "tag.added 4 fourth", `doc.deleted a "tags":["first","third"]`},
	},
	{
		name:   "children that are rewritten under new keys",
		before: `INSERT INTO docs VALUES ('a', 'o1', NULL, 1, ` + long("a") + `), ('b', 'o1', NULL, 1, 'x'); INSERT INTO tags VALUES ('1', 'a', 'x'), ('2', 'a', 'y'), ('3', 'b', 'x'), ('4', 'b', 'y')`,
		sql: `DELETE FROM tags; INSERT INTO tags VALUES ('6', 'a', 'x'), ('5', 'a', 'y'), ('8', 'b', 'y'), ('7', 'b', 'z');
			INSERT INTO docs VALUES ('c', 'o1', NULL, 1, 'x'); INSERT INTO tags VALUES ('9', 'c', 'x')` + filler,
		want: []string{`doc.updated b "tags":["y","z"]`, "tag.added 6 x", "tag.added 5 y", "tag.added 8 y", "tag.added 7 z", `doc.created c "tags":["x"]`, "tag.added 9 x"},
	},
	{
		name:   "children beside an update of their parent",
		before: `INSERT INTO docs VALUES ('a', 'o1', NULL, 1, ` + long("a") + `); INSERT INTO tags VALUES ('1', 'a', 'x')`,
		sql:    `UPDATE tags SET label = 'y'; UPDATE docs SET n = 2; UPDATE tags SET label = 'z'` + filler,
		want:   []string{"tag.added 1 z", `doc.updated a "tags":["z"]`, "doc.numbered a aaa"},
	},
	{
		name:   "children of rows that a TRUNCATE of both removed",
		before: `INSERT INTO docs VALUES ('a', 'o1', NULL, 1, 'x'); INSERT INTO tags VALUES ('1', 'a', 'first'), ('2', 'a', 'second')`,
		sql:    `TRUNCATE docs, tags`,
		want:   []string{`doc.deleted a "tags":["first","second"]`},
	},
	{
		name:   "people whose bosses get another key",
		before: `INSERT INTO people VALUES ('a', 'o1', NULL, 'n', 'p', false), ('b', 'o1', 'a', 'n', 'p', false), ('c', 'o1', 'b', 'n', 'p', false)`,
		sql:    `UPDATE people SET id = id || 'x', boss = boss || 'x'` + filler,
		want:   []string{"person.deleted a", "person.created ax", "person.deleted b", "person.created bx", "person.deleted c", "person.created cx"},
	},
	{
		name:   "a person that is deleted after its key has changed",
		before: `INSERT INTO people VALUES ('a', 'o1', NULL, 'n', 'p', false), ('b', 'o1', 'a', 'n', 'p', false)`,
		sql:    `UPDATE people SET id = 'ax' WHERE id = 'a'; DELETE FROM people WHERE id = 'ax'; DELETE FROM people WHERE id = 'b'` + filler,
		want:   []string{"person.deleted a"},
	},
	{
		name:   "three rows that change places, and values that come with them",
		before: `INSERT INTO docs VALUES ('1', 'o1', NULL, 1, ` + long("a") + `), ('2', 'o1', NULL, 2, ` + long("b") + `), ('3', 'o1', NULL, 3, ` + long("c") + `)`,
		sql: `UPDATE docs SET big = ` + long("d") + ` WHERE id = '1'; UPDATE docs SET id = 't' WHERE id = '1'; UPDATE docs SET id = '1' WHERE id = '2';
			UPDATE docs SET id = '2' WHERE id = '3'; UPDATE docs SET id = '3' WHERE id = 't'` + filler,
		want: []string{"doc.updated 1 bbb", "doc.numbered 1 bbb", "doc.updated 2 ccc", "doc.numbered 2 ccc", "doc.updated 3 ddd", "doc.numbered 3 ddd"},
	},
	{
		name:   "a row that is moved away and back",
		before: `INSERT INTO docs VALUES ('1', 'o1', NULL, 1, ` + long("a") + `)`,
		sql:    `UPDATE docs SET id = 't' WHERE id = '1'; UPDATE docs SET n = 5 WHERE id = 't'; UPDATE docs SET id = '1' WHERE id = 't'` + filler,
		want:   []string{"doc.updated 1 aaa", "doc.numbered 1 aaa"},
	},
	{
		name:   "a row that another one has replaced, which was made in the transaction",
		before: `INSERT INTO docs VALUES ('1', 'o1', NULL, 1, ` + long("a") + `), ('2', 'o1', NULL, 1, ` + long("b") + `)`,
		sql: `DELETE FROM docs WHERE id = '2'; INSERT INTO docs VALUES ('2', 'o1', NULL, 1, ` + long("n") + `); DELETE FROM docs WHERE id = '1';
			UPDATE docs SET id = '1' WHERE id = '2'` + filler,
		want: []string{"doc.deleted 2 bbb", "doc.updated 1 nnn"},
	},
}

func TestLarge_ShapesOfTransactions(t *testing.T) {
	t.Parallel()
	tw := newTwins(t, clustertest.Database(t))
	for _, c := range twinCases {
		t.Run(c.name, func(t *testing.T) {
			tw.t = t
			tw.exec(`TRUNCATE docs, items, tags, people, log, orgs; INSERT INTO orgs VALUES ('o1', 'n')`)
			tw.exec(c.before)
			tw.agree()
			from := tw.lastEvent()
			tw.exec("BEGIN; " + c.sql + "; COMMIT")
			tw.agree()
			got := tw.read(tw.in(0, fmt.Sprintf(`SELECT name || ' ' || resource || ' ' || convert_from(body, 'UTF8') FROM relay.event WHERE id > %d AND resource !~ '^(ending|other)' ORDER BY ordinal`, from)))
			if len(got) != len(c.want) {
				t.Fatalf("events (-want +got):\n%s", cmp.Diff(c.want, brief(got)))
			}
			for i, want := range c.want {
				words := strings.SplitN(want, " ", 3)
				contains := ""
				if len(words) == 3 {
					contains = words[2]
				}
				if !strings.HasPrefix(got[i], words[0]+" "+words[1]+" ") || !strings.Contains(got[i], contains) {
					t.Errorf("event %d is %.300s, want %s", i, got[i], want)
				}
			}
		})
	}
}

func (tw *twins) lastEvent() int64 {
	return value[int64](tw.t, tw.db, tw.in(0, `SELECT max(id) FROM relay.event`))
}

// One transaction of so many rows that the parts of it must be split comes out of both relays alike.
func TestLarge_PartsThatAreSplit(t *testing.T) {
	t.Parallel()
	tw := newTwins(t, clustertest.Database(t))
	tw.exec(`INSERT INTO orgs VALUES ('o1', 'n'); INSERT INTO log SELECT 'old' || i, 'o1', repeat('x', 10) FROM generate_series(1, 2000) i`)
	const rows = 6000
	tw.exec(fmt.Sprintf(`BEGIN; INSERT INTO log SELECT 'row' || i, 'o1', repeat('x', 3500) FROM generate_series(1, %d) i; UPDATE log SET id = 'moved' || id WHERE id LIKE 'old1%%'; COMMIT`, rows))
	tw.exec(`BEGIN; DELETE FROM log WHERE id LIKE 'row1%'; TRUNCATE log; INSERT INTO log SELECT 'row' || i, 'o1', 'again' FROM generate_series(1, 100) i; COMMIT`)
	tw.agree()
	if n := value[int](t, tw.db, tw.in(0, `SELECT count(*) FROM relay.event WHERE name = 'log.written'`)); n != rows+2000+1111+100+1 {
		t.Errorf("%d events of rows written, want %d", n, rows+2000+1111+100+1)
	}
}
