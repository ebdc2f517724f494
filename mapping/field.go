package mapping

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// field is one member of a payload object, or a bare value.
type field struct {
	name   string
	prefix string // `"name":`
	kind   fieldKind
	// column of the table itself; of the parent for a parentColumn.
	column int
	// parent is an index into the table's parents.
	parent int
	// literal is ready JSON.
	literal  string
	collect  *collect
	omitNull bool
}

type fieldKind uint8

const (
	columnField  fieldKind = iota
	uuidField              // a hashed column in the form of a uuid
	parentColumn           // a column of the parent row
	spliceField            // the members of the parent's object, in place
	includeField           // the parent's object, or null
	collectField           // an array of the children's objects or values
	literalField
)

// collect is a table's rows whose column by holds the key of the row at hand.
type collect struct {
	table *table
	by    int
	// column gives an array of values instead of objects; -1 for objects.
	column int
}

// shape is what an event's data is made of: an object, or a bare value.
type shape struct {
	bare   bool
	fields []field
}

var (
	jsonName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	uuidForm    = regexp.MustCompile(`^uuid\(\s*(.*\S)\s*\)$`)
	literalForm = regexp.MustCompile(`^(null|true|false|\[\]|\{\}|-?\d+|'[^']*')$`)
)

// named gives a field its name in the object.
func (f field) named(name string) field {
	f.name = name
	f.prefix = string(appendString(nil, name)) + ":"
	return f
}

// fields reads a list of data items. own are the includes and collects that can be placed by their name.
func (l *loader) fields(t *table, items []word, own map[string]field) []field {
	var out []field
	for _, item := range items {
		source, name, renamed := cutName(t, item.text)
		if renamed && !jsonName.MatchString(name) {
			l.problems.add(item.at, "%q is no name for a field", name)
			continue
		}
		f, ok := l.field(t, word{source, item.at}, own)
		if !ok {
			continue
		}
		if renamed && f.kind == spliceField {
			l.problems.add(item.at, "%q writes fields in place, which have no name: include = { %s = \"%s\" } makes an object", source, name,
				strings.TrimSuffix(source, ".*"))
			continue
		}
		if name == "" {
			name = f.name
		}
		if name == "" && f.kind != spliceField {
			l.problems.add(item.at, "%q needs a name: \"%s as …\"", source, source)
			continue
		}
		out = append(out, f.named(name))
	}
	return out
}

// cutName takes a data item apart at its last "as". A column of the whole text wins: its name may hold anything.
func cutName(t *table, text string) (source, name string, renamed bool) {
	i := strings.LastIndex(text, " as ")
	if _, column := t.columns[text]; column || i < 0 {
		return text, "", false
	}
	source, name = text[:i], strings.TrimSpace(text[i+len(" as "):])
	if !t.hasItem(source) {
		source = strings.TrimSpace(source)
	}
	return source, name, true
}

// hasItem reports whether a text is exactly a column, or one of a parent.
func (t *table) hasItem(text string) bool {
	if _, ok := t.columns[text]; ok {
		return true
	}
	via, column, ok := t.cutParent(text)
	if !ok {
		return false
	}
	i, ok := t.parentOf(t.columns[via])
	if !ok {
		return false
	}
	_, ok = t.parents[i].table.columns[column]
	return ok
}

// field reads the part before "as". The exact column is looked for first: one may be called null, a.b or uuid(x).
func (l *loader) field(t *table, source word, own map[string]field) (field, bool) {
	if f, ok := own[source.text]; ok {
		return f, true
	}
	if _, ok := t.columns[source.text]; ok {
		i, ok := l.visible(t, source)
		return field{kind: columnField, column: i, name: source.text, omitNull: ok && t.omitNull[i]}, ok
	}
	if literalForm.MatchString(source.text) {
		literal := source.text
		if text, ok := strings.CutPrefix(literal, "'"); ok {
			literal = string(appendString(nil, strings.TrimSuffix(text, "'")))
		}
		if !json.Valid([]byte(literal)) { // A number such as 007.
			l.problems.add(source.at, "%q is no JSON value", source.text)
			return field{}, false
		}
		return field{kind: literalField, literal: literal}, true
	}
	if m := uuidForm.FindStringSubmatch(source.text); m != nil {
		i, ok := l.visible(t, word{m[1], source.at})
		if ok && !t.cdc.Columns[i].Hash {
			l.problems.add(source.at, "uuid(…) is for columns under hash; %q is none", m[1])
		}
		return field{kind: uuidField, column: i, name: m[1]}, ok
	}
	if via, column, ok := t.cutParent(source.text); ok {
		return l.parentField(t, word{via, source.at}, word{column, source.at})
	}
	l.visible(t, source) // It is unknown, and reported.
	return field{}, false
}

// cutParent takes "fk.column" apart at the dot that ends the name of a parent's column, or else at the first one.
func (t *table) cutParent(text string) (via, column string, ok bool) {
	for i := range len(text) {
		if text[i] != '.' {
			continue
		}
		if at, known := t.columns[text[:i]]; known {
			if _, isParent := t.parentOf(at); isParent {
				return text[:i], text[i+1:], true
			}
		}
	}
	return strings.Cut(text, ".")
}

func (l *loader) parentField(t *table, via, column word) (field, bool) {
	i, ok := l.parent(t, via)
	if !ok {
		return field{}, false
	}
	if _, isColumn := t.parents[i].table.columns["*"]; column.text == "*" && !isColumn {
		return field{kind: spliceField, parent: i}, true
	}
	c, ok := l.visible(t.parents[i].table, column)
	return field{kind: parentColumn, parent: i, column: c, name: column.text}, ok
}

// visible resolves a column that may stand in a payload.
func (l *loader) visible(t *table, w word) (int, bool) {
	i, ok := t.columns[w.text]
	if !ok {
		if looksSecret(w.text) {
			l.problems.add(w.at, "%q looks like a secret: secrets never stand in a payload", w.text)
			return 0, false
		}
		return l.column(t, w)
	}
	if t.secret[i] {
		l.problems.add(w.at, "%q stands under secrets of %s: secrets never stand in a payload", w.text, t.name())
	}
	return i, !t.secret[i]
}

// parent resolves a column that refers to another table.
func (l *loader) parent(t *table, w word) (int, bool) {
	column, ok := t.columns[w.text]
	if ok {
		if i, isParent := t.parentOf(column); isParent {
			return i, true
		}
	}
	var names []string
	for _, p := range t.parents {
		names = append(names, t.cdc.Columns[p.column].Name)
	}
	l.problems.add(w.at, "%q is no parent of %s%s", w.text, t.name(), suggest(w.text, names))
	return 0, false
}

// ownFields reads include and collect of a table or an event, by name and in the order of the file.
func (l *loader) ownFields(t *table, source *tomlpos.Node) []field {
	var out []field
	for _, p := range l.decoder.pairs(source, "include") {
		if i, ok := l.parent(t, p.word); ok {
			out = append(out, field{kind: includeField, parent: i}.named(p.name))
		}
	}
	collects := source.Get("collect")
	if collects == nil || !l.decoder.table(collects, "collect") {
		return out
	}
	for _, e := range collects.Entries {
		where := "collect." + e.Key
		l.decoder.known(e.Value, where, "table", "by", "column")
		if e.Value.Kind != tomlpos.Table {
			continue
		}
		if t.cdc.KeyColumns != 1 {
			l.problems.add(e.At, "%s: the key of %s has %d columns, so it has no children", where, t.name(), t.cdc.KeyColumns)
			continue
		}
		if c := l.collect(e.Value, where); c != nil {
			c.refersTo(t)
			t.collects = true
			out = append(out, field{kind: collectField, collect: c}.named(e.Key))
		}
	}
	return out
}

// collect reads { table = "…", by = "…", column = "…" }.
func (l *loader) collect(source *tomlpos.Node, where string) *collect {
	name, by := l.decoder.word(source, "table"), l.decoder.word(source, "by")
	if !name.given() || !by.given() {
		l.problems.add(source.At, "%s needs table and by: { table = \"children\", by = \"parent_id\" }", where)
		return nil
	}
	child := l.table(name)
	if child == nil {
		return nil
	}
	c := &collect{table: child, column: -1}
	var ok bool
	if c.by, ok = l.column(child, by); !ok {
		return nil
	}
	if c.by == 0 {
		l.problems.add(by.at, "by = %q is the first key column of %s: name it later in its key", by.text, child.name())
		return nil
	}
	if child.collected && child.collectedBy != c.by {
		l.problems.add(by.at, "%s is collected by %s elsewhere: the rows of a table can be found by one column only", child.name(), child.cdc.Columns[child.collectedBy].Name)
		return nil
	}
	child.collected, child.collectedBy = true, c.by
	if column := l.decoder.word(source, "column"); column.given() {
		if c.column, ok = l.visible(child, column); !ok {
			return nil
		}
	}
	return c
}

// refersTo says whose keys the children hold, unless parents says so.
func (c *collect) refersTo(t *table) {
	if column := &c.table.cdc.Columns[c.by]; column.Parent == nil {
		column.Parent = t.cdc
	}
}

// place lays own fields over an object: one that is named there already is replaced in place, the others are appended.
func place(object, own []field) []field {
	out := slices.Clone(object)
	for _, f := range own {
		if i := slices.IndexFunc(out, func(o field) bool { return o.name == f.name && o.kind != spliceField }); i >= 0 {
			out[i] = f
			continue
		}
		out = append(out, f)
	}
	return out
}

// objectOf builds the table's own object: its data list, or else key, parents and columns.
func (l *loader) objectOf(t *table) {
	own := l.ownFields(t, t.source)
	for _, f := range own {
		t.own[f.name] = f
	}
	items := l.decoder.words(t.source, "data", false)
	if items == nil {
		items = t.defaultItems(l.decoderQuiet())
	}
	t.object = place(l.fields(t, items, t.own), own)
}

// defaultItems are the key columns and parents that columns does not place, and then columns.
func (t *table) defaultItems(d decoder) []word {
	columns := d.words(t.source, "columns", false)
	var items []word
	for i, c := range t.cdc.Columns {
		isColumn := slices.ContainsFunc(columns, func(w word) bool { return w.text == c.Name })
		if _, isParent := t.parentOf(i); !isColumn && (i < t.cdc.KeyColumns || isParent) && !t.secret[i] {
			items = append(items, word{c.Name, t.at})
		}
	}
	return append(items, columns...)
}

// names lists the names of the members that a list of fields writes, splices included.
func names(t *table, fields []field, depth int) []string {
	var out []string
	for _, f := range fields {
		if f.kind != spliceField {
			out = append(out, f.name)
		} else if depth < maxEmbedding {
			parent := t.parents[f.parent].table
			out = append(out, names(parent, parent.object, depth+1)...)
		}
	}
	return out
}

// uniqueNames reports a member that would be written twice.
func (l *loader) uniqueNames(t *table, fields []field, at position) {
	all := names(t, fields, 0)
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			l.problems.add(at, "field %q stands twice in the data of %s", all[i], t.name())
			return
		}
	}
}
