package mappingtest

import (
	_ "embed" // the schema of FerrisKey
	"slices"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// Schema describes the tables of a database, by name.
type Schema map[string][]Column

// Column describes a column of a Schema.
type Column struct {
	Name, Kind string
	Nullable   bool
}

// Types holds the types that a Schema can use, with a plain value of each.
var Types = map[string]struct {
	oid   uint32
	Plain string
}{
	"uuid": {2950, ""}, "varchar": {1043, ""}, "text": {25, ""}, "bool": {16, "f"}, "int4": {23, "0"}, "int8": {20, "0"},
	"timestamp": {1114, "2026-08-20 10:00:00"}, "timestamptz": {1184, "2026-08-20 10:00:00+00"}, "text[]": {1009, "{username}"},
	"jsonb": {3802, "{}"}, "json": {114, "{}"}, "numeric": {1700, "0"}, "float8": {701, "0"}, "bytea": {17, `\x`}, "date": {1082, "2026-08-20"},
	"int4[]": {1007, "{}"}, "timestamptz[]": {1185, "{}"},
}

//go:embed ferriskey.schema
var ferriskey string

// DefaultSchema returns the tables of FerrisKey.
func DefaultSchema(t testing.TB) Schema {
	t.Helper()
	return ParseSchema(t, strings.Split(ferriskey, "\n"))
}

// ParseSchema reads lines such as "users id uuid, email text?": a table and its columns, with ? for nullable ones.
func ParseSchema(t testing.TB, lines []string) Schema {
	t.Helper()
	s := Schema{}
	for _, line := range lines {
		table, columns, ok := strings.Cut(line, " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		for column := range strings.SplitSeq(columns, ", ") {
			name, kind, _ := strings.Cut(column, " ")
			kind, nullable := strings.CutSuffix(kind, "?")
			if _, ok := Types[kind]; !ok {
				t.Fatalf("unknown type %q in the schema", kind)
			}
			s[table] = append(s[table], Column{name, kind, nullable})
		}
	}
	return s
}

// Relations returns the mapped tables that exist in the schema.
func (s Schema) Relations(rules *rules.Set) []*cdc.Relation {
	var out []*cdc.Relation
	for _, table := range rules.Tables() {
		if r := s.Relation(table); r != nil {
			out = append(out, r)
		}
	}
	return out
}

// Relation returns the mapped table with its types, or nil if the schema does not have it.
func (s Schema) Relation(table *cdc.Table) *cdc.Relation {
	columns, ok := s[table.Name]
	if !ok {
		return nil
	}
	r := &cdc.Relation{Table: table, Types: make([]uint32, len(table.Columns))}
	for i, c := range table.Columns {
		if at := slices.IndexFunc(columns, func(s Column) bool { return s.Name == c.Name }); at >= 0 {
			r.Types[i] = Types[columns[at].Kind].oid
		}
	}
	return r
}
