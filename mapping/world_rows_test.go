package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
)

type schema map[string][]schemaColumn

type schemaColumn struct {
	name, kind string
	nullable   bool
}

var testTypes = map[string]struct {
	oid   uint32
	plain string
}{
	"uuid": {2950, ""}, "varchar": {1043, ""}, "text": {25, ""}, "bool": {16, "f"}, "int4": {23, "0"}, "int8": {20, "0"},
	"timestamp": {1114, "2026-08-20 10:00:00"}, "timestamptz": {1184, "2026-08-20 10:00:00+00"}, "text[]": {1009, "{username}"},
	"jsonb": {3802, "{}"}, "json": {114, "{}"}, "numeric": {1700, "0"}, "float8": {701, "0"}, "bytea": {17, `\x`}, "date": {1082, "2026-08-20"},
	"int4[]": {1007, "{}"}, "timestamptz[]": {1185, "{}"},
}

func defaultSchema(t testing.TB) schema {
	t.Helper()
	source, err := os.ReadFile("testdata/ferriskey.schema")
	if err != nil {
		t.Fatal(err)
	}
	return parseSchema(t, strings.Split(string(source), "\n"))
}

func parseSchema(t testing.TB, lines []string) schema {
	t.Helper()
	s := schema{}
	for _, line := range lines {
		table, columns, ok := strings.Cut(line, " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for column := range strings.SplitSeq(columns, ", ") {
			name, kind, _ := strings.Cut(column, " ")
			kind, nullable := strings.CutSuffix(kind, "?")
			if _, ok := testTypes[kind]; !ok {
				t.Fatalf("unknown type %q in the schema", kind)
			}
			s[table] = append(s[table], schemaColumn{name, kind, nullable})
		}
	}
	return s
}

// relations returns the mapped tables that exist in the schema.
func (s schema) relations(rules *Rules) []*cdc.Relation {
	var out []*cdc.Relation
	for _, table := range rules.Tables() {
		if r := s.relation(table); r != nil {
			out = append(out, r)
		}
	}
	return out
}

func (s schema) relation(table *cdc.Table) *cdc.Relation {
	columns, ok := s[table.Name]
	if !ok {
		return nil
	}
	r := &cdc.Relation{Table: table, Types: make([]uint32, len(table.Columns))}
	for i, c := range table.Columns {
		if at := slices.IndexFunc(columns, func(s schemaColumn) bool { return s.name == c.Name }); at >= 0 {
			r.Types[i] = testTypes[columns[at].kind].oid
		}
	}
	return r
}

// row parses "column=value …" and sets these columns in a copy of base or, if base is nil, of a row of default values.
func (w *world) row(r *cdc.Relation, text string, base cdc.Row) cdc.Row {
	row := slices.Clone(base)
	if row == nil {
		row = make(cdc.Row, len(r.Columns))
		for i, c := range r.Columns {
			at := slices.IndexFunc(w.schema[r.Name], func(s schemaColumn) bool { return s.name == c.Name })
			switch {
			case at < 0: // The database does not have the column.
			case w.schema[r.Name][at].nullable:
				row[i] = cdc.NullValue
			default:
				row[i] = cdc.TextValue(testTypes[w.schema[r.Name][at].kind].plain)
			}
		}
	}
	for name, value := range w.values(text) {
		i := r.Index(name)
		if i < 0 {
			w.t.Fatalf("%s has no mapped column %q", r.Name, name)
		}
		if r.Columns[i].Hash && value.Kind == cdc.Text {
			value.Text = hashed(value.Text)
		}
		row[i] = value
	}
	return row
}

func hashed(uuid string) string {
	raw, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil {
		raw = []byte(uuid)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

func (w *world) values(text string) map[string]cdc.Value {
	out := map[string]cdc.Value{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			w.t.Fatalf("column=value expected at %q", text)
		}
		value, rest := firstValue(rest)
		text = rest
		switch {
		case value == "null":
			out[name] = cdc.NullValue
		case value == "~":
			out[name] = cdc.Value{Kind: cdc.Unchanged}
		case strings.HasPrefix(value, `"`):
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				w.t.Fatalf("value %s: %v", value, err)
			}
			out[name] = cdc.TextValue(unquoted)
		default:
			out[name] = cdc.TextValue(long(value))
		}
	}
	return out
}

func firstValue(text string) (first, rest string) {
	if strings.HasPrefix(text, `"`) {
		if quoted, err := strconv.QuotedPrefix(text); err == nil {
			return quoted, text[len(quoted):]
		}
	}
	first, rest, _ = strings.Cut(text, " ")
	return first, rest
}

const uuidStart = "0198c0de-0000-7000-8000-0000000000"

func long(value string) string {
	if digits, ok := strings.CutPrefix(value, "@"); ok {
		return uuidStart + digits
	}
	return value
}

func short(value string) string { return strings.Replace(value, uuidStart, "@", 1) }
