package mapping

import (
	"maps"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// table is one mapped table, with all names resolved to positions in its columns.
type table struct {
	cdc     *cdc.Table
	at      position
	index   int
	source  *tomlpos.Node
	columns map[string]int
	named   []position // where each column is first named

	// Per column:
	secret   []bool // read, and never part of a payload
	public   []bool // declared to be no secret, whatever name and type look like
	payload  []bool // its change makes an update: in columns or parents, and not under ignore
	optional []bool
	omitNull []bool
	formats  []*formatSpec

	parents []parent
	// toTenant are the parents that lead to the tenant by the shortest path, the best first; distance is its length.
	toTenant []int
	distance int
	tenantBy int // the parent that alone leads to the tenant, or -1

	deleted *condition
	object  []field
	// own are the fields that include and collect declare for the table itself, by name.
	own map[string]field

	isParent  bool // some table has it as a parent: its deleted and written rows matter to others
	collected bool // its rows are embedded as children
	// collectedBy is the column by which its rows are found from their parent.
	collectedBy int
	collects    bool // its events, or those that include it, may list children
	embedded    bool // its object is part of other objects
	insertion   bool // its inserted keys absorb inserts of children

	rules [cdc.Truncate + 1][]*rule // by operation
}

// parent is a foreign key to another mapped table, whose key is one column.
type parent struct {
	column int
	table  *table
}

const unreachable = 1 << 20

func (t *table) name() string { return t.cdc.Name }

func (t *table) columnNames() []string { return slices.Sorted(maps.Keys(t.columns)) }

func (t *table) parentOf(column int) (int, bool) {
	i := slices.IndexFunc(t.parents, func(p parent) bool { return p.column == column })
	return i, i >= 0
}

// tableKeys are the keys of a [tables.X].
var tableKeys = []string{
	"key", "parents", "tenant", "columns", "ignore", "optional", "optional_columns", "deleted", "secrets", "hash", "public", "omit_null",
	"data", "include", "collect", "format",
}

// newTable reads the columns of a [tables.X]. What refers to other tables is read when all are known.
func (l *loader) newTable(name string, at position, source *tomlpos.Node) *table {
	t := &table{
		cdc: &cdc.Table{Schema: l.rules.schema, Name: name}, at: at, source: source, index: len(l.rules.tables),
		columns: map[string]int{}, own: map[string]field{}, distance: unreachable, tenantBy: -1,
	}
	l.decoder.known(source, "tables."+name, tableKeys...)
	if source.Kind != tomlpos.Table {
		return t
	}
	t.cdc.Optional, _ = l.decoder.bool(source, "optional")
	named := columnLists{
		key:     l.decoder.words(source, "key", true),
		columns: l.decoder.words(source, "columns", false),
		secrets: l.decoder.words(source, "secrets", false),
		hash:    l.decoder.words(source, "hash", false),
	}
	for _, p := range l.decoder.pairs(source, "parents") {
		named.parents = append(named.parents, word{p.name, p.at})
	}
	if len(named.key) == 0 {
		l.problems.add(at, "tables.%s has no key: name the columns of its primary key, for example key = [\"id\"]", name)
	}
	for _, w := range named.key {
		t.addColumn(w)
	}
	t.cdc.KeyColumns = len(t.cdc.Columns)
	for _, w := range slices.Concat(named.parents, named.columns, named.secrets, named.hash) {
		t.addColumn(w)
	}
	n := len(t.cdc.Columns)
	t.secret, t.public, t.payload = make([]bool, n), make([]bool, n), make([]bool, n)
	t.optional, t.omitNull, t.formats = make([]bool, n), make([]bool, n), make([]*formatSpec, n)
	l.markSecrets(t, named)
	for _, w := range slices.Concat(named.columns, named.parents) {
		t.payload[t.columns[w.text]] = true
	}
	l.flagColumns(t)
	return t
}

// columnLists are the columns that a [tables.X] names, by where it names them.
type columnLists struct {
	key, parents, columns, secrets, hash []word
}

// markSecrets marks what is hashed, never sent, or declared public. What looks like a secret is refused in Bind, by its type.
func (l *loader) markSecrets(t *table, named columnLists) {
	for _, w := range named.hash {
		t.cdc.Columns[t.columns[w.text]].Hash = true
		if slices.ContainsFunc(named.parents, func(p word) bool { return p.text == w.text }) {
			l.problems.add(w.at, "%q refers to another table, whose key is not hashed: it cannot be hashed itself", w.text)
		}
	}
	for _, w := range named.secrets {
		t.secret[t.columns[w.text]], t.cdc.Columns[t.columns[w.text]].Secret = true, true
	}
	for _, w := range slices.Concat(named.key, named.columns, named.parents) {
		if t.secret[t.columns[w.text]] {
			l.problems.add(w.at, "%q stands under secrets: it cannot be a column of the payload too", w.text)
		}
	}
	for _, w := range l.decoder.words(t.source, "public", false) {
		i, ok := l.column(t, w)
		if ok && (t.secret[i] || t.cdc.Columns[i].Hash) {
			l.problems.add(w.at, "%q stands under secrets or hash: it cannot be public too", w.text)
		}
		if ok {
			t.public[i] = true
		}
	}
}

// flagColumns reads the lists that say more of columns that are named already.
func (l *loader) flagColumns(t *table) {
	for _, w := range l.decoder.words(t.source, "ignore", false) {
		if i, ok := l.column(t, w); ok {
			t.payload[i] = false
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
	t.named = append(t.named, w.at)
	t.cdc.Columns = append(t.cdc.Columns, cdc.Column{Name: w.text})
}

// column resolves a column's name or reports it.
func (l *loader) column(t *table, w word) (int, bool) {
	i, ok := t.columns[w.text]
	if !ok {
		l.problems.add(w.at, "unknown column %q of %s%s", w.text, t.name(), suggest(w.text, t.columnNames()))
	}
	return i, ok
}

// table resolves a table's name or reports it.
func (l *loader) table(w word) *table {
	if t := l.rules.byName[w.text]; t != nil {
		return t
	}
	l.problems.add(w.at, "unknown table %q%s", w.text, suggest(w.text, slices.Sorted(maps.Keys(l.rules.byName))))
	return nil
}

// linkParents resolves the tables that a table refers to.
func (l *loader) linkParents(t *table) {
	for _, p := range l.decoderQuiet().pairs(t.source, "parents") {
		to := l.table(p.word)
		if to == nil {
			continue
		}
		if to.cdc.KeyColumns != 1 {
			l.problems.add(p.word.at, "%s cannot be a parent: its key has %d columns", to.name(), to.cdc.KeyColumns)
			continue
		}
		to.isParent = true
		t.cdc.Columns[t.columns[p.name]].Parent = to.cdc
		t.parents = append(t.parents, parent{column: t.columns[p.name], table: to})
	}
	if w := l.decoder.word(t.source, "tenant"); w.given() {
		if i, ok := l.parent(t, w); ok {
			t.tenantBy = i
		}
	}
}

// findTenants computes each table's way to the tenant: the shortest over its parents, with ties broken by column name. A table
// that says tenant = "column" goes that way and no other.
func (r *Rules) findTenants() {
	if r.tenant == nil {
		return
	}
	r.tenant.distance = 0
	for changed := true; changed; {
		changed = false
		for _, t := range r.tables {
			for i, p := range t.parents {
				if t.tenantBy >= 0 && t.tenantBy != i {
					continue
				}
				if d := p.table.distance + 1; d < t.distance {
					t.distance, changed = d, true
				}
			}
		}
	}
	for _, t := range r.tables {
		if t == r.tenant {
			continue
		}
		for i, p := range t.parents {
			if t.distance < unreachable && p.table.distance == t.distance-1 && (t.tenantBy < 0 || t.tenantBy == i) {
				t.toTenant = append(t.toTenant, i)
			}
		}
		slices.SortFunc(t.toTenant, func(a, b int) int {
			return strings.Compare(t.cdc.Columns[t.parents[a].column].Name, t.cdc.Columns[t.parents[b].column].Name)
		})
	}
}
