package language

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// tableKeys lists the keys of a [tables.NAME] section.
var tableKeys = []string{
	"key", "parents", "tenant", "columns", "ignore", "optional", "optional_columns", "deleted", "secrets", "hash", "public", "omit_null",
	"data", "include", "collect", "children", "format", "events",
}

// newTable reads the columns of a [tables.NAME] section. References to other tables are read when all tables are known.
func (l *loader) newTable(name string, at rules.Position, source *tomlpos.Node) *rules.Table {
	t := &rules.Table{
		CDC: l.qualified(name), At: at, Source: source, Index: len(l.rules.Mapped),
		Columns: map[string]int{}, Declared: map[string]rules.Field{}, Distance: rules.Unreachable, TenantColumn: -1, TenantParent: -1,
	}
	l.decoder.checkKeys(source, "tables."+name, tableKeys...)
	if source.Kind != tomlpos.Table {
		return t
	}
	t.CDC.Optional, _ = l.decoder.bool(source, "optional")
	lists := columnLists{
		key:     l.decoder.words(source, "key", true),
		columns: l.columnItems(source),
		secrets: l.decoder.words(source, "secrets", false),
		hash:    l.decoder.words(source, "hash", false),
	}
	for _, p := range l.decoder.parents(source) {
		lists.parents = append(lists.parents, word{p.name, p.at})
	}
	if len(lists.key) == 0 {
		if near := spelling.Nearest(name, l.otherTables(name)); near != "" && source.Get("columns") == nil {
			l.problems.Add(at, "unknown table %q; did you mean %q?", name, near)
		} else {
			l.problems.Add(at, "tables.%s needs key, the columns of its primary key, for example key = [\"id\"]", name)
		}
	}
	for _, w := range lists.key {
		addColumn(t, w)
	}
	t.CDC.KeyColumns = len(t.CDC.Columns)
	for _, w := range slices.Concat(lists.parents, lists.columns, lists.secrets, lists.hash) {
		addColumn(t, w)
	}
	n := len(t.CDC.Columns)
	t.Secret, t.Public, t.Watched = make([]bool, n), make([]bool, n), make([]bool, n)
	t.Optional, t.OmitNull, t.Formats = make([]bool, n), make([]bool, n), make([]*value.Spec, n)
	l.markSecrets(t, lists)
	for _, w := range slices.Concat(lists.columns, lists.parents) {
		t.Watched[t.Columns[w.text]] = true
	}
	l.loadColumnFlags(t)
	return t
}

// otherTables returns the names of the tables that were read before.
func (l *loader) otherTables(name string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(l.rules.ByName)), func(other string) bool { return other == name })
}

// columnLists holds the columns of a [tables.NAME] section by the list that names them.
type columnLists struct {
	key, parents, columns, secrets, hash []word
}

// markSecrets marks the columns under hash, secrets and public. Bind refuses other columns that look like secrets, because
// that depends on their types too.
func (l *loader) markSecrets(t *rules.Table, lists columnLists) {
	for _, w := range lists.hash {
		t.CDC.Columns[t.Columns[w.text]].Hash = true
		if slices.ContainsFunc(lists.parents, func(p word) bool { return p.text == w.text }) {
			l.problems.Add(w.at, "%q is listed under parents and cannot be hashed: a hash would not match the key of the parent", w.text)
		}
	}
	for _, w := range lists.secrets {
		t.Secret[t.Columns[w.text]], t.CDC.Columns[t.Columns[w.text]].Secret = true, true
	}
	for _, w := range slices.Concat(lists.key, lists.columns, lists.parents) {
		if t.Secret[t.Columns[w.text]] {
			l.problems.Add(w.at, "%q is listed under secrets and cannot be listed under key, columns or parents too", w.text)
		}
	}
	for _, w := range l.decoder.words(t.Source, "public", false) {
		i, ok := l.column(t, w)
		if ok && (t.Secret[i] || t.CDC.Columns[i].Hash) {
			l.problems.Add(w.at, "%q is listed under secrets or hash and cannot be public too", w.text)
		}
		if ok {
			t.Public[i] = true
		}
	}
}

// loadColumnFlags reads the lists that refer to columns of the other lists.
func (l *loader) loadColumnFlags(t *rules.Table) {
	for _, w := range l.decoder.words(t.Source, "ignore", false) {
		if i, ok := l.column(t, w); ok {
			t.Watched[i] = false
		}
	}
	for _, w := range l.decoder.words(t.Source, "optional_columns", false) {
		if i, ok := l.column(t, w); ok {
			t.Optional[i], t.CDC.Columns[i].Optional = true, true
			if i < t.CDC.KeyColumns {
				l.problems.Add(w.at, "key column %q cannot be optional", w.text)
			}
		}
	}
	for _, w := range l.decoder.words(t.Source, "omit_null", false) {
		if i, ok := l.column(t, w); ok {
			t.OmitNull[i] = true
		}
	}
}

func addColumn(t *rules.Table, w word) {
	if _, ok := t.Columns[w.text]; ok {
		return
	}
	t.Columns[w.text] = len(t.CDC.Columns)
	t.FirstNamed = append(t.FirstNamed, w.at)
	t.CDC.Columns = append(t.CDC.Columns, cdc.Column{Name: w.text})
}

// column resolves the name of a column, or reports it as unknown.
func (l *loader) column(t *rules.Table, w word) (int, bool) {
	i, ok := t.Columns[w.text]
	if !ok {
		l.problems.Add(w.at, "unknown column %q of %s%s", w.text, t.Name(), spelling.Suggest(w.text, t.ColumnNames()))
	}
	return i, ok
}

// Table resolves the name of a table, or reports it as unknown.
func (l *loader) table(w word) *rules.Table {
	if t := l.rules.ByName[w.text]; t != nil {
		return t
	}
	l.problems.Add(w.at, "unknown table %q%s", w.text, spelling.Suggest(w.text, slices.Sorted(maps.Keys(l.rules.ByName))))
	return nil
}

// linkParents resolves the tables that a table refers to.
func (l *loader) linkParents(t *rules.Table) {
	for _, p := range l.silentDecoder().parents(t.Source) {
		to := l.table(p.table)
		if to == nil {
			continue
		}
		if to.CDC.KeyColumns != 1 {
			l.problems.Add(p.table.at, "%s cannot be a parent: the key of a parent must have one column, and this one has %d", to.Name(), to.CDC.KeyColumns)
			continue
		}
		to.IsParent = true
		t.CDC.Columns[t.Columns[p.name]].Parent = to.CDC
		t.Parents = append(t.Parents, rules.Parent{Column: t.Columns[p.name], Table: to, LookupOnly: p.lookupOnly})
	}
	if w := l.decoder.word(t.Source, "tenant"); w.given() {
		if i, ok := l.parent(t, w); ok {
			t.TenantParent = i
		}
	}
}
