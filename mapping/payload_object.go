package mapping

import (
	"slices"

	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// collect selects the rows of a table whose column by holds the key of the current row.
type collect struct {
	table *table
	by    int
	// column is the column whose values make the array; -1 for an array of objects.
	column int
}

// declaredFields reads include and collect of a table or an event, in the order of the file.
func (l *loader) declaredFields(t *table, source *tomlpos.Node) []field {
	var out []field
	for _, p := range l.decoder.pairs(source, "include") {
		if i, ok := l.parent(t, p.word); ok {
			out = append(out, field{kind: includeField, parent: i}.withName(p.name))
		}
	}
	collects := source.Get("collect")
	if collects == nil || !l.decoder.table(collects, "collect") {
		return out
	}
	for _, e := range collects.Entries {
		where := "collect." + e.Key
		l.decoder.checkKeys(e.Value, where, "table", "by", "column")
		if e.Value.Kind != tomlpos.Table {
			continue
		}
		if t.cdc.KeyColumns != 1 {
			l.problems.add(e.At, "%s: collect needs a key of one column; the key of %s has %d", where, t.name(), t.cdc.KeyColumns)
			continue
		}
		if c := l.collect(e.Value, where); c != nil {
			c.setParent(t)
			t.collects = true
			out = append(out, field{kind: collectField, collect: c}.withName(e.Key))
		}
	}
	return out
}

// collect reads { table = "…", by = "…", column = "…" }.
func (l *loader) collect(source *tomlpos.Node, where string) *collect {
	name, by := l.decoder.word(source, "table"), l.decoder.word(source, "by")
	if !name.given() || !by.given() {
		l.problems.add(source.At, "%s needs table and by, for example { table = \"children\", by = \"parent_id\" }", where)
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
		l.problems.add(by.at, "by = %q cannot be the first key column of %s; list it later in key", by.text, child.name())
		return nil
	}
	if child.collected && child.collectedBy != c.by {
		l.problems.add(by.at, "%s is already collected by %s; a table can be collected by one column only", child.name(), child.cdc.Columns[child.collectedBy].Name)
		return nil
	}
	child.collected, child.collectedBy = true, c.by
	if column := l.decoder.word(source, "column"); column.given() {
		if c.column, ok = l.payloadColumn(child, column); !ok {
			return nil
		}
	}
	return c
}

// setParent records whose keys the column by holds, unless parents of the child table does.
func (c *collect) setParent(t *table) {
	if column := &c.table.cdc.Columns[c.by]; column.Parent == nil {
		column.Parent = t.cdc
	}
}

// mergeFields adds declared fields to an object. A field that replaces one of its name keeps the position of that one.
func mergeFields(object, declared []field) []field {
	out := slices.Clone(object)
	for _, f := range declared {
		if i := slices.IndexFunc(out, func(o field) bool { return o.name == f.name && o.kind != spliceField }); i >= 0 {
			out[i] = f
			continue
		}
		out = append(out, f)
	}
	return out
}

// loadObject builds the table's object from its data list, or else from its key, parents and columns.
func (l *loader) loadObject(t *table) {
	declared := l.declaredFields(t, t.source)
	for _, f := range declared {
		t.declared[f.name] = f
	}
	items := l.decoder.words(t.source, "data", false)
	if items == nil {
		items = t.defaultItems(l.silentDecoder())
	}
	t.object = mergeFields(l.fields(t, items, t.declared), declared)
}

// defaultItems returns the key columns and parents that columns does not list, followed by columns.
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

// fieldNames lists the names of the members that fields write, including those of spliced objects.
func fieldNames(t *table, fields []field, depth int) []string {
	var out []string
	for _, f := range fields {
		if f.kind != spliceField {
			out = append(out, f.name)
		} else if depth < maxEmbedding {
			parent := t.parents[f.parent].table
			out = append(out, fieldNames(parent, parent.object, depth+1)...)
		}
	}
	return out
}

// checkUniqueNames reports a member that would be written twice.
func (l *loader) checkUniqueNames(t *table, fields []field, at position) {
	all := fieldNames(t, fields, 0)
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			l.problems.add(at, "the data of %s has two fields named %q; rename one of them with \"… as NAME\"", t.name(), all[i])
			return
		}
	}
}

// maxEmbedding limits the depth of objects inside objects.
const maxEmbedding = 8

// refuseCycles reports objects that would contain themselves.
func (l *loader) refuseCycles() bool {
	found := false
	for _, t := range l.rules.tables {
		if reaches(t, t, 0) {
			found = true
			l.problems.add(t.at, "the data of %s would contain itself through include, collect or \"….*\"; remove one of them", t.name())
		}
	}
	return found
}

func reaches(from, goal *table, depth int) bool {
	if depth > maxEmbedding {
		return true
	}
	for _, f := range from.object {
		next := f.embeds(from)
		if next != nil && (next == goal || reaches(next, goal, depth+1)) {
			return true
		}
	}
	return false
}

// embeds returns the table whose object the field contains, or nil.
func (f field) embeds(t *table) *table {
	switch {
	case f.kind == spliceField || f.kind == includeField:
		return t.parents[f.parent].table
	case f.kind == collectField && f.collect.column < 0:
		return f.collect.table
	}
	return nil
}

func markEmbedded(fields []field, t *table) {
	for _, f := range fields {
		if next := f.embeds(t); next != nil {
			next.embedded = true
		}
	}
}
