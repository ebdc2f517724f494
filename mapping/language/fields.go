package language

import (
	"encoding/json"
	"regexp"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/secret"
	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/value"
)

var (
	jsonName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)
	uuidForm    = regexp.MustCompile(`^uuid\(\s*(.*\S)\s*\)$`)
	literalForm = regexp.MustCompile(`^(null|true|false|\[\]|\{\}|-?\d+|'[^']*')$`)
)

// fields reads a list of data items. declared holds the fields of include and collect, which an item can refer to by name.
func (l *loader) fields(t *rules.Table, items []word, declared map[string]rules.Field) []rules.Field {
	var out []rules.Field
	for _, item := range items {
		source, name, renamed := cutAlias(t, item.text)
		if renamed && !jsonName.MatchString(name) {
			l.problems.Add(item.at, "%q is not a valid field name; begin with a letter or \"_\" and use letters, digits, \"_\", \".\" and \"-\"", name)
			continue
		}
		f, ok := l.field(t, word{source, item.at}, declared)
		if !ok {
			continue
		}
		if renamed && f.Kind == rules.SpliceField {
			l.problems.Add(item.at, "%q inserts the parent's fields and cannot be renamed; for an object write include = { %s = \"%s\" }", source, name,
				strings.TrimSuffix(source, ".*"))
			continue
		}
		if name == "" {
			name = f.Name
		}
		if name == "" && f.Kind != rules.SpliceField {
			l.problems.Add(item.at, "%q needs a field name; write \"%s as NAME\"", source, source)
			continue
		}
		out = append(out, f.WithName(name))
	}
	return out
}

// cutAlias splits a data item at its last " as ". If the whole text is the name of a column, it is that column: a column
// name may contain anything.
func cutAlias(t *rules.Table, text string) (source, name string, renamed bool) {
	i := strings.LastIndex(text, " as ")
	if _, column := t.Columns[text]; column || i < 0 {
		return text, "", false
	}
	source, name = text[:i], strings.TrimSpace(text[i+len(" as "):])
	if !hasItem(t, source) {
		source = strings.TrimSpace(source)
	}
	return source, name, true
}

// hasItem reports whether a text is exactly a column of the table or of a parent.
func hasItem(t *rules.Table, text string) bool {
	if _, ok := t.Columns[text]; ok {
		return true
	}
	via, column, ok := cutParent(t, text)
	if !ok {
		return false
	}
	i, ok := t.ParentOf(t.Columns[via])
	if !ok {
		return false
	}
	_, ok = t.Parents[i].Table.Columns[column]
	return ok
}

// Field reads the part of an item before "as". It looks for a column of exactly that name first: a column may be called
// null, a.b or uuid(x).
func (l *loader) field(t *rules.Table, source word, declared map[string]rules.Field) (rules.Field, bool) {
	if f, ok := declared[source.text]; ok {
		return f, true
	}
	if _, ok := t.Columns[source.text]; ok {
		i, ok := l.payloadColumn(t, source)
		return rules.Field{Kind: rules.ColumnField, Column: i, Name: source.text, OmitNull: ok && t.OmitNull[i]}, ok
	}
	if literalForm.MatchString(source.text) {
		literal := source.text
		if text, ok := strings.CutPrefix(literal, "'"); ok {
			literal = string(value.AppendString(nil, strings.TrimSuffix(text, "'")))
		}
		if !json.Valid([]byte(literal)) { // A number such as 007.
			l.problems.Add(source.at, "%q is not a number in JSON; remove the leading zeros", source.text)
			return rules.Field{}, false
		}
		return rules.Field{Kind: rules.LiteralField, Literal: literal}, true
	}
	if m := uuidForm.FindStringSubmatch(source.text); m != nil {
		i, ok := l.payloadColumn(t, word{m[1], source.at})
		if ok && !t.CDC.Columns[i].Hash {
			l.problems.Add(source.at, "uuid(…) takes a column that is listed under hash; %q is not", m[1])
		}
		return rules.Field{Kind: rules.UUIDField, Column: i, Name: m[1]}, ok
	}
	if via, column, ok := cutParent(t, source.text); ok {
		return l.parentField(t, word{via, source.at}, word{column, source.at})
	}
	l.payloadColumn(t, source) // Reports the unknown column.
	return rules.Field{}, false
}

// cutParent splits "fk.column" at the dot that ends the name of a parent column, or else at the first dot.
func cutParent(t *rules.Table, text string) (via, column string, ok bool) {
	for i := range len(text) {
		if text[i] != '.' {
			continue
		}
		if at, known := t.Columns[text[:i]]; known {
			if _, isParent := t.ParentOf(at); isParent {
				return text[:i], text[i+1:], true
			}
		}
	}
	return strings.Cut(text, ".")
}

func (l *loader) parentField(t *rules.Table, via, column word) (rules.Field, bool) {
	i, ok := l.parent(t, via)
	if !ok {
		return rules.Field{}, false
	}
	if _, isColumn := t.Parents[i].Table.Columns["*"]; column.text == "*" && !isColumn {
		return rules.Field{Kind: rules.SpliceField, Parent: i}, true
	}
	c, ok := l.payloadColumn(t.Parents[i].Table, column)
	return rules.Field{Kind: rules.ParentColumn, Parent: i, Column: c, Name: column.text}, ok
}

// payloadColumn resolves a column that is to be part of a payload.
func (l *loader) payloadColumn(t *rules.Table, w word) (int, bool) {
	i, ok := t.Columns[w.text]
	if !ok {
		if secret.LooksSecret(w.text) {
			l.problems.Add(w.at, "%q looks like a secret; secrets cannot be part of a payload", w.text)
			return 0, false
		}
		return l.column(t, w)
	}
	if t.Secret[i] {
		l.problems.Add(w.at, "%q is listed under secrets of %s and cannot be part of a payload", w.text, t.Name())
	}
	return i, !t.Secret[i]
}

// parent resolves a column that refers to another table.
func (l *loader) parent(t *rules.Table, w word) (int, bool) {
	column, ok := t.Columns[w.text]
	if ok {
		if i, isParent := t.ParentOf(column); isParent {
			return i, true
		}
	}
	var names []string
	for _, p := range t.Parents {
		names = append(names, t.CDC.Columns[p.Column].Name)
	}
	l.problems.Add(w.at, "%q is not listed under parents of %s%s", w.text, t.Name(), spelling.Suggest(w.text, names))
	return 0, false
}
