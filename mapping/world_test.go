package mapping

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// world is a database in small: it does with the mapping what the relay does, so that tests read like what happens there.
type world struct {
	t          testing.TB
	options    Options
	schema     schema
	rules      *Rules
	mapper     *Mapper
	rels       map[string]*cdc.Relation
	mirror     mirror
	matches    []string
	commits    int
	reconciled bool // the transaction is what a comparison has found
}

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

// relations are those of the mapped tables that the schema has.
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

func (w *world) setOptions(lines []string) {
	for f := range strings.FieldsSeq(strings.Join(lines, " ")) {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "preset":
			w.options.Preset = value
		case "resource_id":
			w.options.ResourceID = value
		case "drop":
			w.options.Drop = strings.Split(value, ",")
		default:
			w.t.Fatalf("unknown option %q", name)
		}
	}
}

// start loads and binds the mapping when it is first needed.
func (w *world) start() {
	if w.mapper != nil {
		return
	}
	if w.options.Preset == "" && w.options.File == "" {
		w.options.Preset = "ferriskey"
	}
	var err error
	if w.rules, err = Load(w.options); err != nil {
		w.t.Fatal(err)
	}
	w.rels, w.mirror = map[string]*cdc.Relation{}, mirror{}
	relations := w.schema.relations(w.rules)
	for _, r := range relations {
		w.rels[r.Name] = r
	}
	if w.mapper, err = w.rules.Bind(relations); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) relation(table string) *cdc.Relation {
	w.start()
	r := w.rels[table]
	if r == nil {
		w.t.Fatalf("no mapped table %q", table)
	}
	return r
}

func (w *world) mirrorRow(line string) {
	table, rest, _ := strings.Cut(line, " ")
	r := w.relation(table)
	w.mirror.put(r.Table, w.row(r, rest, nil))
}

// row makes a row of "column=value …", over base or over plain values.
func (w *world) row(r *cdc.Relation, text string, base cdc.Row) cdc.Row {
	row := slices.Clone(base)
	if row == nil {
		row = make(cdc.Row, len(r.Columns))
		for i, c := range r.Columns {
			at := slices.IndexFunc(w.schema[r.Name], func(s schemaColumn) bool { return s.name == c.Name })
			switch {
			case at < 0: // The database lacks it.
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

// changes parses a transaction's lines. Updates and deletes see what the lines before them did.
func (w *world) changes(lines []string) []cdc.Change {
	now := w.mirrorCopy()
	var out []cdc.Change
	for i, line := range lines {
		op, rest, _ := strings.Cut(line, " ")
		table, rest, _ := strings.Cut(rest, " ")
		r := w.relation(table)
		c := cdc.Change{Seq: i, Relation: r}
		given := w.row(r, rest, make(cdc.Row, len(r.Columns)))
		switch op {
		case "insert":
			c.Op, c.New = cdc.Insert, w.row(r, rest, nil)
			c.Key = now.put(r.Table, c.New)
		case "update":
			key, err := r.KeyOf(given)
			if err != nil {
				w.t.Fatal(err)
			}
			c.Op, c.Key, c.New = cdc.Update, key, w.row(r, rest, now.row(r.Table, key))
			now.put(r.Table, slices.Clone(c.New))
		case "delete":
			key, err := r.KeyOf(given)
			if err != nil {
				w.t.Fatal(err)
			}
			c.Op, c.Key = cdc.Delete, key
			delete(now[r.Table], key)
		default:
			w.t.Fatalf("unknown operation %q", op)
		}
		out = append(out, c)
	}
	return out
}

func (w *world) mirrorCopy() mirror {
	w.start()
	out := mirror{}
	for table, rows := range w.mirror {
		out[table] = maps.Clone(rows)
	}
	return out
}

// transaction maps lines as one commit, describes its events and brings the mirror up to date.
func (w *world) transaction(lines []string, overlay bool) []string {
	w.t.Helper()
	changes := w.resolve(w.changes(lines))
	rows := &fetched{w: w, mirror: w.mirror, allowed: map[Ref]bool{}}
	w.fetch(rows, changes)
	w.commits++
	commit := Commit{LSN: cdc.LSN(w.commits), Time: time.Date(2026, 8, 20, 13, 54, w.commits, 123456000, time.UTC), Reconciled: w.reconciled}
	tx := w.mapper.Begin(commit, rows)
	if !overlay {
		rows.former = w.mirrorCopy()
		// What a relay does with a transaction that it cannot keep: write first, map, then delete.
		for _, c := range changes {
			if c.Op != cdc.Delete {
				w.mirror.put(c.Relation.Table, c.New)
			}
		}
		rows.anything = true
		tx = w.mapper.BeginLarge(commit, rows)
	}
	var events []Event
	emit := func(e Event) error {
		events = append(events, e)
		return nil
	}
	tx.Observe(changes)
	if tx.Grouping() {
		if err := tx.Group(changes); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := tx.Map(changes, emit); err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(events, func(a, b Event) int { return a.Index - b.Index })
	var out []string
	for i, e := range events {
		if e.Index != i {
			w.t.Errorf("event %s has index %d, want %d", e.Name, e.Index, i)
		}
		out = append(out, w.describe(e))
	}
	for _, match := range tx.Follows() {
		out = append(out, "cancels match="+w.matchName(match)+"\n")
	}
	w.mirror.apply(changes)
	return out
}

func (w *world) resolve(changes []cdc.Change) []cdc.Change {
	out := changes[:0]
	net, err := Fold(changes)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range net {
		if Resolve(&c, w.mirror.row(c.Relation.Table, c.Key)) {
			out = append(out, c)
		}
	}
	return out
}

// fetch notes what Refs names, to a fixpoint.
func (w *world) fetch(rows *fetched, changes []cdc.Change) {
	var queue []Ref
	need := func(r Ref) {
		if !rows.allowed[r] {
			rows.allowed[r] = true
			queue = append(queue, r)
		}
	}
	for i := range changes {
		w.mapper.Refs(&changes[i], need)
	}
	for len(queue) > 0 {
		ref := queue[0]
		queue = queue[1:]
		if ref.By == 0 {
			w.mapper.RefsOf(ref.Table, w.mirror.row(ref.Table, ref.Key), need)
			continue
		}
		for _, row := range w.mirror.children(ref.Table, ref.By, ref.Key) {
			w.mapper.RefsOf(ref.Table, row, need)
		}
	}
}

// mirror is the relay's copy of the mapped columns.
type mirror map[*cdc.Table]map[cdc.Key]cdc.Row

func (m mirror) row(table *cdc.Table, key cdc.Key) cdc.Row { return m[table][key] }

func (m mirror) put(table *cdc.Table, row cdc.Row) cdc.Key {
	key, err := table.KeyOf(row)
	if err != nil {
		panic(err)
	}
	if m[table] == nil {
		m[table] = map[cdc.Key]cdc.Row{}
	}
	m[table][key] = row
	return key
}

func (m mirror) children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row {
	var out []cdc.Row
	for _, key := range slices.Sorted(maps.Keys(m[table])) {
		if row := m[table][key]; row[by].Text == string(parent) {
			out = append(out, row)
		}
	}
	return out
}

func (m mirror) apply(changes []cdc.Change) {
	for _, c := range changes {
		if c.Op == cdc.Delete {
			delete(m[c.Relation.Table], c.Key)
		} else {
			m.put(c.Relation.Table, c.New)
		}
	}
}
