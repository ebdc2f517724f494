package mapping

import (
	"encoding/json"
	"regexp"
	"strings"
)

// field is one member of a payload object, or a bare value.
type field struct {
	name   string
	prefix string // `"name":`
	kind   fieldKind
	// column is an index into the columns of the table, or of the parent for a parentColumn.
	column   int
	parent   int    // an index into the table's parents
	literal  string // JSON
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

// eventData describes the data of an event: an object, or a bare value.
type eventData struct {
	bare   bool
	fields []field
}

var (
	jsonName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	uuidForm    = regexp.MustCompile(`^uuid\(\s*(.*\S)\s*\)$`)
	literalForm = regexp.MustCompile(`^(null|true|false|\[\]|\{\}|-?\d+|'[^']*')$`)
)

func (f field) withName(name string) field {
	f.name = name
	f.prefix = string(appendString(nil, name)) + ":"
	return f
}

// fields reads a list of data items. declared holds the fields of include and collect, which an item can refer to by name.
func (l *loader) fields(t *table, items []word, declared map[string]field) []field {
	var out []field
	for _, item := range items {
		source, name, renamed := cutAlias(t, item.text)
		if renamed && !jsonName.MatchString(name) {
			l.problems.add(item.at, "%q is not a valid field name; begin with a letter or \"_\" and use letters, digits, \"_\", \".\" and \"-\"", name)
			continue
		}
		f, ok := l.field(t, word{source, item.at}, declared)
		if !ok {
			continue
		}
		if renamed && f.kind == spliceField {
			l.problems.add(item.at, "%q inserts the parent's fields and cannot be renamed; for an object write include = { %s = \"%s\" }", source, name,
				strings.TrimSuffix(source, ".*"))
			continue
		}
		if name == "" {
			name = f.name
		}
		if name == "" && f.kind != spliceField {
			l.problems.add(item.at, "%q needs a field name; write \"%s as NAME\"", source, source)
			continue
		}
		out = append(out, f.withName(name))
	}
	return out
}

// cutAlias splits a data item at its last " as ". If the whole text is the name of a column, it is that column: a column
// name may contain anything.
func cutAlias(t *table, text string) (source, name string, renamed bool) {
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

// hasItem reports whether a text is exactly a column of the table or of a parent.
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

// field reads the part of an item before "as". It looks for a column of exactly that name first: a column may be called
// null, a.b or uuid(x).
func (l *loader) field(t *table, source word, declared map[string]field) (field, bool) {
	if f, ok := declared[source.text]; ok {
		return f, true
	}
	if _, ok := t.columns[source.text]; ok {
		i, ok := l.payloadColumn(t, source)
		return field{kind: columnField, column: i, name: source.text, omitNull: ok && t.omitNull[i]}, ok
	}
	if literalForm.MatchString(source.text) {
		literal := source.text
		if text, ok := strings.CutPrefix(literal, "'"); ok {
			literal = string(appendString(nil, strings.TrimSuffix(text, "'")))
		}
		if !json.Valid([]byte(literal)) { // A number such as 007.
			l.problems.add(source.at, "%q is not a number in JSON; remove the leading zeros", source.text)
			return field{}, false
		}
		return field{kind: literalField, literal: literal}, true
	}
	if m := uuidForm.FindStringSubmatch(source.text); m != nil {
		i, ok := l.payloadColumn(t, word{m[1], source.at})
		if ok && !t.cdc.Columns[i].Hash {
			l.problems.add(source.at, "uuid(…) takes a column that is listed under hash; %q is not", m[1])
		}
		return field{kind: uuidField, column: i, name: m[1]}, ok
	}
	if via, column, ok := t.cutParent(source.text); ok {
		return l.parentField(t, word{via, source.at}, word{column, source.at})
	}
	l.payloadColumn(t, source) // Reports the unknown column.
	return field{}, false
}

// cutParent splits "fk.column" at the dot that ends the name of a parent column, or else at the first dot.
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
	c, ok := l.payloadColumn(t.parents[i].table, column)
	return field{kind: parentColumn, parent: i, column: c, name: column.text}, ok
}

// payloadColumn resolves a column that is to be part of a payload.
func (l *loader) payloadColumn(t *table, w word) (int, bool) {
	i, ok := t.columns[w.text]
	if !ok {
		if looksSecret(w.text) {
			l.problems.add(w.at, "%q looks like a secret; secrets cannot be part of a payload", w.text)
			return 0, false
		}
		return l.column(t, w)
	}
	if t.secret[i] {
		l.problems.add(w.at, "%q is listed under secrets of %s and cannot be part of a payload", w.text, t.name())
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
	l.problems.add(w.at, "%q is not listed under parents of %s%s", w.text, t.name(), suggest(w.text, names))
	return 0, false
}
