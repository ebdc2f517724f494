package cdc_test

import (
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/integration/cluster/clustertest"
)

// encodedTexts are, by the encoding of a database, stored bytes and their conversion. The server cannot convert those that are
// not valid in the encoding, or in UTF-8.
var encodedTexts = map[string]map[string]string{
	"UTF8": {"Zo\xc3\xab": "Zoë", "\xef\xbf\xbdEB": "\ufffdEB"},
	"SQL_ASCII": {
		"Zo\xc3\xab": "Zoë", "Zo\xeb": "Zo\ufffdEB", "Zo\xef\xbf\xbdEB": "Zo\ufffdEF\ufffdBF\ufffdBDEB", "\xef\xbf\xbd": "\ufffd", "\xef\xbf\xbdeb": "\ufffdeb",
		"\xff\xfe": "\ufffdFF\ufffdFE", "a\xc3": "a\ufffdC3", "\xed\xa0\x80": "\ufffdED\ufffdA0\ufffd80", "\xe2\x82\xac\xe2\x82": "€\ufffdE2\ufffd82", `\xeb`: `\xeb`,
		"\xef\xbf\xbd\xeb": "\ufffd\ufffdEB", "it's \"\x99\"": "it's \"\ufffd99\"",
	},
	"WIN1252": {"Zo\xeb": "Zoë", "\x80": "€", "\x81": "\u0081", "\x9d": "\u009d", "it's \x99": "it's ™"},
	"WIN1253": {"\xe1": "α", "\xaa": "\ufffdAA", "\xd2\xff": "\ufffdD2\ufffdFF"},
	"LATIN1":  {"Zo\xeb": "Zoë", "\x81": "\u0081", "\xff": "ÿ"},
	"EUC_JP":  {"\xc6\xfc\xcb\xdc": "日本", "\x8e\xb1": "ｱ", "\x8f\xb0\xa1": "丂", "\xa9\xa1a": "\ufffdA9\ufffdA1a", "\x8f\xa1\xa1": "\ufffd8F\u3000"},
}

// encodedSource is a source in some encoding, with one mapped table.
type encodedSource struct {
	*source
	table *cdc.Table
	texts map[string]string
	// late is the value that an added column has in older rows; only the catalog has it. Empty if it is not checked.
	late string
}

func newEncodedSource(t *testing.T, encoding string) *encodedSource {
	t.Helper()
	s := &encodedSource{
		table: &cdc.Table{Schema: "public", Name: "users", KeyColumns: 1, Columns: columns("id", "name", "late")}, texts: encodedTexts[encoding],
	}
	bad := "\x81"
	switch encoding {
	case "UTF8":
		bad = ""
	case "EUC_JP":
		bad = "\xa9\xa1"
	case "WIN1252", "SQL_ASCII":
		for raw, text := range s.texts { // the longest one
			if len(text) > len(s.late) {
				s.late, bad = text, raw
			}
		}
	}
	url := clustertest.Encoded(t, encoding)
	s.source = &source{t: t, url: url, conn: connect(t, url)}
	s.exec(`SET client_encoding = 'SQL_ASCII'`,
		`CREATE TABLE users (id text PRIMARY KEY, name text, unmapped text DEFAULT `+quoted(bad)+`, "odd `+strings.ReplaceAll(bad, `"`, "")+`" text)`,
		`INSERT INTO users VALUES ('first')`, `ALTER TABLE users ADD COLUMN late text DEFAULT `+quoted(bad))
	s.prepare([]*cdc.Table{s.table})
	return s
}

// quoted writes a text as an SQL literal.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// In every database encoding, including bytes that are not valid in it, the stream, a snapshot and a lookup by key give the
// same texts, keys stay distinct, and columns that are not mapped do not matter.
func TestEncoding_StreamSnapshotAndLookupAgree(t *testing.T) {
	t.Parallel()
	for encoding := range encodedTexts {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			s := newEncodedSource(t, encoding)
			if s.late != "" {
				diff(t, "value of ADD COLUMN", cdc.TextValue(s.late), s.config.Catalog.AddedDefault(s.table, 2))
			}
			r := s.stream(s.start, 100)
			rows := s.write(t, r)
			s.compareSnapshot(t, rows)
			for raw := range s.texts {
				s.exec(`DELETE FROM users WHERE id = ` + quoted(raw))
				delete(rows, string(r.next().Changes()[0].Key))
			}
			if len(rows) > 0 {
				t.Errorf("not deleted: %v", rows)
			}
		})
	}
}

// write inserts and updates a row for each text, checks what is streamed, and returns the rows by their key.
func (s *encodedSource) write(t *testing.T, r *running) map[string]cdc.Row {
	t.Helper()
	rows := map[string]cdc.Row{}
	for raw, text := range s.texts {
		s.exec(`INSERT INTO users VALUES (`+quoted(raw)+`, `+quoted(raw)+`, DEFAULT, DEFAULT, NULL)`,
			`UPDATE users SET name = 'x', unmapped = `+quoted(raw)+` WHERE id = `+quoted(raw))
		row := cdc.Row{cdc.TextValue(text), cdc.TextValue(text), cdc.NullValue}
		inserted, updated := r.next().Changes()[0], r.next().Changes()[0]
		diff(t, "inserted row", row, inserted.New)
		row[1] = cdc.TextValue("x")
		diff(t, "updated row", row, updated.New)
		if inserted.Key != cdc.Key(text) || updated.Key != cdc.Key(text) {
			t.Errorf("keys %q and %q, want %q", inserted.Key, updated.Key, text)
		}
		rows[text] = row
	}
	if len(rows) != len(s.texts) {
		t.Errorf("%d texts became %d keys", len(s.texts), len(rows))
	}
	return rows
}

// compareSnapshot checks that a copy and a lookup by key give the rows.
func (s *encodedSource) compareSnapshot(t *testing.T, want map[string]cdc.Row) {
	t.Helper()
	snapshot, err := cdc.CreateSlot(t.Context(), s.url, s.config.Slot+"_t", true)
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	got := map[string]cdc.Row{}
	for _, row := range copyAll(t, snapshot, s.table) {
		got[row[0].Text] = row
	}
	if s.late != "" {
		diff(t, "row from before ADD COLUMN", cdc.TextValue(s.late), got["first"][2])
	}
	delete(got, "first")
	diff(t, "copied rows", want, got)
	for key := range want {
		row, err := snapshot.Row(t.Context(), s.table, []string{key})
		if err != nil {
			t.Fatal(err)
		}
		diff(t, "row by its key", want[key], row)
	}
	if row, err := snapshot.Row(t.Context(), s.table, []string{"none \U0001F600"}); err != nil || row != nil {
		t.Errorf("missing row: got %v, %v", row, err)
	}
}

// Names of tables, columns and publications may have non-ASCII characters in every encoding.
func TestEncoding_Names(t *testing.T) {
	t.Parallel()
	for encoding, name := range map[string]string{"SQL_ASCII": "gr\xc3\xb6\xc3\x9fe", "WIN1252": "gr\xf6\xdfe", "LATIN1": "gr\xf6\xdfe", "UTF8": "gr\xc3\xb6\xc3\x9fe"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			mapped := &cdc.Table{Schema: "public", Name: "größe", KeyColumns: 1, Columns: columns("id", "größe")}
			url := clustertest.Encoded(t, encoding)
			s := &source{t: t, url: url, conn: connect(t, url)}
			s.exec(`SET client_encoding = 'SQL_ASCII'`, `CREATE TABLE "`+name+`" (id int PRIMARY KEY, "`+name+`" text)`)
			s.config.Publication = "größe"
			s.prepare([]*cdc.Table{mapped})
			r := s.stream(s.start, 10)
			s.exec(`INSERT INTO "` + name + `" VALUES (1, '` + name + `')`)
			want := cdc.Row{cdc.TextValue("1"), cdc.TextValue("größe")}
			diff(t, "streamed row", want, r.next().Changes()[0].New)
			snapshot, err := cdc.CreateSlot(t.Context(), url, s.config.Slot+"_t", true)
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			diff(t, "copied rows", []cdc.Row{want}, copyAll(t, snapshot, mapped))
		})
	}
}
