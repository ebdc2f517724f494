package cdc_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/iam-relay/iam-relay/cdc"
)

// oddTexts are used as values and as keys.
var oddTexts = []string{"", " ", "\\", `\N`, `\.`, "\t", "\n", "\r\n", "\v\f\b", `"'` + "`" + `{},`, "NULL", "null", "\u0001", "\x7f", "\u0085", "\u2028", "\ufeff", "\ufffd", "\uffff", "\U0010ffff", "\x1f", "😀👩\u200d👧", "e\u0301", strings.Repeat("\\\t", 5000)}

// odd are values at the limits of their types: the types that IAM schemas use, and other types of PostgreSQL.
var odd = []struct {
	typ    string
	values []string // SQL literals
}{
	{"uuid", []string{"00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-ffff-ffff-ffffffffffff"}},
	{"boolean", []string{"yes", "off"}},
	{"smallint", []string{"-32768", "32767"}},
	{"integer", []string{"-2147483648", "2147483647", "0"}},
	{"bigint", []string{"-9223372036854775808", "9223372036854775807"}},
	{"numeric", []string{"NaN", "Infinity", "-Infinity", "1e-16383", "1" + strings.Repeat("0", 1000), "-0.00", "1.50"}},
	{"numeric(10, 3)", []string{"1234567.891", "0"}},
	{"real", []string{"NaN", "-Infinity", "1.17549435e-38", "0.1", "-0"}},
	{"double precision", []string{"NaN", "Infinity", "5e-324", "1.7976931348623157e308", "0.1", "-0"}},
	{"text", oddTexts},
	{"text", []string{incompressible(100_000), incompressible(1_000_000)}}, // out of line
	{"varchar(255)", []string{"", strings.Repeat("é", 255)}},
	{"char(5)", []string{"", "ab", "a b  "}},
	{"name", []string{"", "Name"}},
	{"bytea", []string{"", `\x00ff5c0a`, `\x` + strings.Repeat("00", 5000)}},
	{"json", []string{`{"b": 1,  "b": "\u0000 \\ \n"}`, "null", `""`, "1e400", "\t[ ]\n"}},
	{"jsonb", []string{`{"b": 1, "a": {"k": "\\ \n é"}}`, "null", `""`, "1e400", "[]"}},
	{"date", []string{"infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "2000-02-29"}},
	{"time", []string{"00:00:00", "24:00:00", "23:59:59.999999"}},
	{"timetz", []string{"00:00:00+15:59", "24:00:00-15:59"}},
	{"timestamp", []string{"infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999", "2026-01-02 03:04:05"}},
	{"timestamptz", []string{"infinity", "-infinity", "4713-01-02 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00", "2026-03-29 01:30:00 Europe/Berlin"}},
	{"interval", []string{"-178000000 years", "1 year -2 mons 3 days -04:05:06.789", "0", "1000 hours"}},
	{"inet", []string{"::1", "10.0.0.1/8", "fe80::/10"}},
	{"cidr", []string{"10.0.0.0/8"}},
	{"macaddr", []string{"08-00-2b-01-02-03"}},
	{"bit(3)", []string{"101"}},
	{"varbit", []string{"", "1"}},
	{"money", []string{"-92233720368547758.08"}},
	{"xml", []string{"<a>&amp;\n</a>"}},
	{"tsvector", []string{"'a b':1A 'c\\d'"}},
	{"point", []string{"(1e-300,-0)"}},
	{"pg_lsn", []string{"FFFFFFFF/FFFFFFFF"}},
	{"text[]", []string{"{}", `{"",NULL,"NULL","a\"b","\\\\","{,}"}`, "[0:1]={a,b}", "{{a,b},{c,d}}"}},
	{"uuid[]", []string{"{00000000-0000-0000-0000-000000000000}"}},
	{"jsonb[]", []string{`{"{\"a\": \"b\\\\\"}"}`}},
	{"timestamptz[]", []string{`{infinity,"2026-01-02 03:04:05+00"}`}},
	{"int4range", []string{"empty", "(,)", "[1,5]"}},
	{"numrange", []string{"(1.10,Infinity]"}},
	{"tstzrange", []string{`["2026-01-01 00:00:00+05",)`}},
	{"int4multirange", []string{"{}", "{[1,3),[5,9)}"}},
	{"mood", []string{"so so", "it's, \"ok\""}},
	{"mail", []string{"", "A@B.example"}},
	{"nested", []string{"x"}},
	{"pair", []string{`(1,"a,""b""\\")`, "(,)", `(1,"")`}},
}

// incompressible returns a text that PostgreSQL cannot compress.
func incompressible(size int) string {
	text, random := make([]byte, size), rand.New(rand.NewPCG(1, 2))
	for i := range text {
		text[i] = byte(' ' + random.IntN(95))
	}
	return string(text)
}

const oddTypes = `CREATE TYPE mood AS ENUM ('so so', 'it''s, "ok"'); CREATE DOMAIN mail AS varchar(255) CHECK (length(value) < 100);
	CREATE DOMAIN nested AS mail; CREATE TYPE pair AS (a int, b text);`

// oddTable returns a table with a column for each of odd, and its DDL.
func oddTable() (table *cdc.Table, ddl string, longest int) {
	table = &cdc.Table{Schema: "public", Name: "odd", KeyColumns: 1, Columns: columns("id")}
	ddl = oddTypes + "CREATE TABLE odd (id text PRIMARY KEY"
	for i, o := range odd {
		name := fmt.Sprintf("c%d %s", i, o.typ) // a name that has to be quoted
		ddl += fmt.Sprintf(", %q %s", name, o.typ)
		table.Columns = append(table.Columns, cdc.Column{Name: name})
		longest = max(longest, len(o.values))
	}
	return table, ddl + ")", longest
}

// insertOdd inserts a row with the values that value chooses.
func insertOdd(s *source, key string, value func(values []string) string) {
	s.t.Helper()
	row := []string{quoted(key)}
	for _, o := range odd {
		row = append(row, value(o.values))
	}
	s.exec("INSERT INTO odd VALUES (" + strings.Join(row, ", ") + ")")
}

// fold returns the rows as of the given number of transactions. It fails if no value was omitted as unchanged by an UPDATE, or
// by one that changed the key.
func fold(t *testing.T, r *running, transactions int) map[cdc.Key]cdc.Row {
	t.Helper()
	rows, last, unchanged := map[cdc.Key]cdc.Row{}, map[cdc.Key]cdc.Row{}, map[bool]int{}
	for range transactions {
		transaction := r.next()
		for c, err := range transaction.All() {
			if err != nil {
				t.Fatal(err)
			}
			if c.Op == cdc.Delete {
				delete(rows, c.Key)
				continue
			}
			for i, v := range c.New {
				if v.Kind == cdc.Unchanged {
					c.New[i] = last[cmp.Or(c.OldKey, c.Key)][i]
					unchanged[c.OldKey != ""]++
				}
			}
			rows[c.Key], last[c.Key] = c.New, c.New
		}
		transaction.Close()
	}
	if len(unchanged) != 2 {
		t.Error("no value was omitted by an UPDATE, or by one that changed the key")
	}
	return rows
}

// A streamed row equals the copied one for all values, after an INSERT, an UPDATE, and an UPDATE that changed the key.
func TestValues_StreamEqualsSnapshot(t *testing.T) {
	t.Parallel()
	table, ddl, longest := oddTable()
	s := newSource(t, ddl, []*cdc.Table{table})
	insertOdd(s, "nulls", func([]string) string { return "NULL" })
	for i := range longest {
		insertOdd(s, fmt.Sprint("row ", i), func(values []string) string { return quoted(values[i%len(values)]) })
	}
	for i, key := range oddTexts {
		insertOdd(s, key, func(values []string) string { return quoted(values[i%len(values)]) })
	}
	s.exec(`UPDATE odd SET "c0 uuid" = gen_random_uuid() WHERE id LIKE 'row 1%'`, `UPDATE odd SET id = 'moved ' || id WHERE id LIKE 'row 2%'`)
	streamed := fold(t, s.stream(s.start, 1), 1+longest+len(oddTexts)+2)
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	copied := map[cdc.Key]cdc.Row{}
	for _, row := range copyAll(t, snapshot, table) {
		for _, v := range row {
			if !utf8.ValidString(v.Text) {
				t.Errorf("%q is not valid UTF-8", v.Text)
			}
		}
		copied[cdc.Key(row[0].Text)] = row
	}
	diff(t, "rows", copied, streamed)
	if len(copied) < longest+len(oddTexts)+1 {
		t.Errorf("only %d rows", len(copied))
	}
}

// A column that is not mapped may have any size. A mapped value that is too large stops the stream and the copy with an error
// that names the table and the column; without the column, both continue.
func TestValues_TooLarge(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.config.WALSenderTimeout = time.Minute // a slow machine takes long for one large row, and nothing here reconnects
	r := s.stream(s.start, 10)
	s.exec(fmt.Sprintf(`INSERT INTO users (id, name, secret) VALUES (1, 'a', repeat('s', %d))`, 2*cdc.MaxRowBytes))
	s.exec(fmt.Sprintf(`INSERT INTO users VALUES (2, 'b', repeat('b', %d), 's')`, cdc.MaxRowBytes-2))
	s.exec(`UPDATE users SET name = 'c' WHERE id = 2`)
	diff(t, "changes", []string{"insert users 1 new ('1', 'a', null)"}, r.changes())
	diff(t, "changes", []string{fmt.Sprintf("insert users 2 new ('2', 'b', %d bytes)", cdc.MaxRowBytes-2)}, r.changes())
	diff(t, "changes", []string{"update users 2 new ('2', 'c', unchanged)"}, r.changes())

	s.exec(fmt.Sprintf(`UPDATE users SET bio = repeat('b', %d) WHERE id = 2`, cdc.MaxRowBytes-1))
	err := r.ended()
	var decode *cdc.DecodeError
	names := fmt.Sprint("column bio has ", cdc.MaxRowBytes-1)
	if !errors.As(err, &decode) || decode.Table != "public.users" || !strings.Contains(err.Error(), names) || cdc.IsTransient(err) {
		t.Errorf("the stream ended with %v", err)
	}
	narrow := &cdc.Table{Schema: "public", Name: "users", Columns: columns("id", "name"), KeyColumns: 1}
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	if n := len(copyAll(t, snapshot, narrow)); n != 2 {
		t.Errorf("%d rows without the column, want 2", n)
	}
	if err := snapshot.Copy(t.Context(), users, func(cdc.Row) error { return nil }); err == nil || !strings.Contains(err.Error(), names) {
		t.Errorf("the copy ended with %v", err)
	}
	s.config.Tables = []*cdc.Table{narrow}
	again := s.stream(s.start, 10)
	for _, want := range []string{"insert users 1 new ('1', 'a')", "insert users 2 new ('2', 'b')", "update users 2 new ('2', 'c')", "update users 2 new ('2', 'c')"} {
		diff(t, "changes", []string{want}, again.changes())
	}
}
