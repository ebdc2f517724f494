package mapping

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// table is a mapped table. All names are resolved to indexes into its columns.
type table struct {
	cdc     *cdc.Table
	at      position
	index   int
	source  *tomlpos.Node
	columns map[string]int

	// By column:
	firstNamed []position // where the mapping names the column first
	secret     []bool     // read, but never part of a payload
	public     []bool     // declared not to be a secret, regardless of its name and type
	watched    []bool     // its change is an update: in columns or parents, and not under ignore
	optional   []bool
	omitNull   []bool
	formats    []*formatSpec

	parents []parent
	// toTenant lists the parents on the shortest path to the tenant, the preferred one first; distance is the length of the
	// path.
	toTenant     []int
	distance     int
	tenantParent int // the only parent that may lead to the tenant, or -1

	deleted *condition
	object  []field
	// declared holds the fields that include and collect of the table declare, by name.
	declared map[string]field

	isParent       bool // of some table, which needs to know its deleted and written rows
	collected      bool // Its rows are part of other events as children.
	collectedBy    int  // the column by which its rows are found from their parent
	collects       bool // Its events, or events that include it, may list children.
	embedded       bool // Its object is part of other objects.
	absorbsInserts bool // Its inserts absorb the inserts of children.

	rules [cdc.Truncate + 1][]*rule // by operation
}

// parent is a foreign key to a mapped table, whose key is one column.
type parent struct {
	column int
	table  *table
}

func (t *table) name() string { return t.cdc.Name }

func (t *table) columnNames() []string { return slices.Sorted(maps.Keys(t.columns)) }

func (t *table) parentOf(column int) (int, bool) {
	i := slices.IndexFunc(t.parents, func(p parent) bool { return p.column == column })
	return i, i >= 0
}

// watchesAny reports whether the change of any column is an update.
func (t *table) watchesAny() bool {
	return slices.Contains(t.watched[min(t.cdc.KeyColumns, len(t.watched)):], true)
}

// tableKeys lists the keys of a [tables.NAME] section.
var tableKeys = []string{
	"key", "parents", "tenant", "columns", "ignore", "optional", "optional_columns", "deleted", "secrets", "hash", "public", "omit_null",
	"data", "include", "collect", "format",
}

// newTable reads the columns of a [tables.NAME] section. References to other tables are read when all tables are known.
func (l *loader) newTable(name string, at position, source *tomlpos.Node) *table {
	t := &table{
		cdc: &cdc.Table{Schema: l.rules.schema, Name: name}, at: at, source: source, index: len(l.rules.tables),
		columns: map[string]int{}, declared: map[string]field{}, distance: unreachable, tenantParent: -1,
	}
	l.decoder.checkKeys(source, "tables."+name, tableKeys...)
	if source.Kind != tomlpos.Table {
		return t
	}
	t.cdc.Optional, _ = l.decoder.bool(source, "optional")
	lists := columnLists{
		key:     l.decoder.words(source, "key", true),
		columns: l.decoder.words(source, "columns", false),
		secrets: l.decoder.words(source, "secrets", false),
		hash:    l.decoder.words(source, "hash", false),
	}
	for _, p := range l.decoder.pairs(source, "parents") {
		lists.parents = append(lists.parents, word{p.name, p.at})
	}
	if len(lists.key) == 0 {
		l.problems.add(at, "tables.%s needs key, the columns of its primary key, for example key = [\"id\"]", name)
	}
	for _, w := range lists.key {
		t.addColumn(w)
	}
	t.cdc.KeyColumns = len(t.cdc.Columns)
	for _, w := range slices.Concat(lists.parents, lists.columns, lists.secrets, lists.hash) {
		t.addColumn(w)
	}
	n := len(t.cdc.Columns)
	t.secret, t.public, t.watched = make([]bool, n), make([]bool, n), make([]bool, n)
	t.optional, t.omitNull, t.formats = make([]bool, n), make([]bool, n), make([]*formatSpec, n)
	l.markSecrets(t, lists)
	for _, w := range slices.Concat(lists.columns, lists.parents) {
		t.watched[t.columns[w.text]] = true
	}
	l.loadColumnFlags(t)
	return t
}

// columnLists holds the columns of a [tables.NAME] section by the list that names them.
type columnLists struct {
	key, parents, columns, secrets, hash []word
}

// markSecrets marks the columns under hash, secrets and public. Bind refuses other columns that look like secrets, because
// that depends on their types too.
func (l *loader) markSecrets(t *table, lists columnLists) {
	for _, w := range lists.hash {
		t.cdc.Columns[t.columns[w.text]].Hash = true
		if slices.ContainsFunc(lists.parents, func(p word) bool { return p.text == w.text }) {
			l.problems.add(w.at, "%q is listed under parents and cannot be hashed: a hash would not match the key of the parent", w.text)
		}
	}
	for _, w := range lists.secrets {
		t.secret[t.columns[w.text]], t.cdc.Columns[t.columns[w.text]].Secret = true, true
	}
	for _, w := range slices.Concat(lists.key, lists.columns, lists.parents) {
		if t.secret[t.columns[w.text]] {
			l.problems.add(w.at, "%q is listed under secrets and cannot be listed under key, columns or parents too", w.text)
		}
	}
	for _, w := range l.decoder.words(t.source, "public", false) {
		i, ok := l.column(t, w)
		if ok && (t.secret[i] || t.cdc.Columns[i].Hash) {
			l.problems.add(w.at, "%q is listed under secrets or hash and cannot be public too", w.text)
		}
		if ok {
			t.public[i] = true
		}
	}
}

// loadColumnFlags reads the lists that refer to columns of the other lists.
func (l *loader) loadColumnFlags(t *table) {
	for _, w := range l.decoder.words(t.source, "ignore", false) {
		if i, ok := l.column(t, w); ok {
			t.watched[i] = false
		}
	}
	for _, w := range l.decoder.words(t.source, "optional_columns", false) {
		if i, ok := l.column(t, w); ok {
			t.optional[i], t.cdc.Columns[i].Optional = true, true
			if i < t.cdc.KeyColumns {
				l.problems.add(w.at, "key column %q cannot be optional", w.text)
			}
		}
	}
	for _, w := range l.decoder.words(t.source, "omit_null", false) {
		if i, ok := l.column(t, w); ok {
			t.omitNull[i] = true
		}
	}
}

func (t *table) addColumn(w word) {
	if _, ok := t.columns[w.text]; ok {
		return
	}
	t.columns[w.text] = len(t.cdc.Columns)
	t.firstNamed = append(t.firstNamed, w.at)
	t.cdc.Columns = append(t.cdc.Columns, cdc.Column{Name: w.text})
}

// column resolves the name of a column, or reports it as unknown.
func (l *loader) column(t *table, w word) (int, bool) {
	i, ok := t.columns[w.text]
	if !ok {
		l.problems.add(w.at, "unknown column %q of %s%s", w.text, t.name(), suggest(w.text, t.columnNames()))
	}
	return i, ok
}

// table resolves the name of a table, or reports it as unknown.
func (l *loader) table(w word) *table {
	if t := l.rules.byName[w.text]; t != nil {
		return t
	}
	l.problems.add(w.at, "unknown table %q%s", w.text, suggest(w.text, slices.Sorted(maps.Keys(l.rules.byName))))
	return nil
}

// linkParents resolves the tables that a table refers to.
func (l *loader) linkParents(t *table) {
	for _, p := range l.silentDecoder().pairs(t.source, "parents") {
		to := l.table(p.word)
		if to == nil {
			continue
		}
		if to.cdc.KeyColumns != 1 {
			l.problems.add(p.word.at, "%s cannot be a parent: the key of a parent must have one column, and this one has %d", to.name(), to.cdc.KeyColumns)
			continue
		}
		to.isParent = true
		t.cdc.Columns[t.columns[p.name]].Parent = to.cdc
		t.parents = append(t.parents, parent{column: t.columns[p.name], table: to})
	}
	if w := l.decoder.word(t.source, "tenant"); w.given() {
		if i, ok := l.parent(t, w); ok {
			t.tenantParent = i
		}
	}
}
