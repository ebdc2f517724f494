package language

import (
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// qualified describes the table with a name as the mapping writes it: NAME, or SCHEMA.NAME.
func (l *loader) qualified(name string) *cdc.Table {
	if schema, table, ok := strings.Cut(name, "."); ok && schema != "" && table != "" {
		return &cdc.Table{Schema: schema, Name: table}
	}
	return &cdc.Table{Schema: l.rules.Schema, Name: name}
}

// columnItems returns the columns that a table's columns list names. An item is a column, "column as name", a constant such
// as "null as name", or the name of an include or collect. A column whose name contains " as " is written in quotes.
func (l *loader) columnItems(source *tomlpos.Node) []word {
	var out []word
	for _, item := range l.decoder.words(source, "columns", false) {
		if isDeclared(source, item.text) {
			continue
		}
		text, quoted := unquoteItem(item.text)
		if i := strings.LastIndex(text, " as "); i >= 0 && !quoted {
			if text = strings.TrimSpace(text[:i]); literalForm.MatchString(text) {
				continue
			}
		}
		if slices.ContainsFunc(out, func(w word) bool { return w.text == text }) {
			l.problems.Add(item.at, "columns lists %q twice", text)
			continue
		}
		out = append(out, word{text, item.at})
	}
	return out
}

// unquoteItem removes the quotes around the name of a column.
func unquoteItem(text string) (string, bool) {
	if len(text) > 2 && text[0] == '"' && text[len(text)-1] == '"' && strings.Contains(text, " as ") {
		return text[1 : len(text)-1], true
	}
	return text, false
}

// isDeclared reports whether the table declares an include, collect or children field of that name.
func isDeclared(source *tomlpos.Node, name string) bool {
	return source.Get("include").Get(name) != nil || source.Get("collect").Get(name) != nil || source.Get("children").Get(name) != nil
}
