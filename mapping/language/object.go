package language

import (
	"slices"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// declaredFields reads include and collect of a table or an event, in the order of the file.
func (l *loader) declaredFields(t *rules.Table, source *tomlpos.Node) []rules.Field {
	var out []rules.Field
	for _, p := range l.decoder.pairs(source, "include") {
		if i, ok := l.parent(t, p.word); ok {
			out = append(out, rules.Field{Kind: rules.IncludeField, Parent: i}.WithName(p.name))
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
		if t.CDC.KeyColumns != 1 {
			l.problems.Add(e.At, "%s: collect needs a key of one column; the key of %s has %d", where, t.Name(), t.CDC.KeyColumns)
			continue
		}
		if c := l.collect(e.Value, where); c != nil {
			c.SetParent(t)
			t.Collects = true
			out = append(out, rules.Field{Kind: rules.CollectField, Collect: c}.WithName(e.Key))
		}
	}
	return out
}

// Collect reads { table = "…", by = "…", column = "…" }.
func (l *loader) collect(source *tomlpos.Node, where string) *rules.Collect {
	name, by := l.decoder.word(source, "table"), l.decoder.word(source, "by")
	if !name.given() || !by.given() {
		l.problems.Add(source.At, "%s needs table and by, for example { table = \"children\", by = \"parent_id\" }", where)
		return nil
	}
	child := l.table(name)
	if child == nil {
		return nil
	}
	c := &rules.Collect{Table: child, Column: -1}
	var ok bool
	if c.By, ok = l.column(child, by); !ok {
		return nil
	}
	if c.By == 0 {
		l.problems.Add(by.at, "by = %q cannot be the first key column of %s; list it later in key", by.text, child.Name())
		return nil
	}
	if child.Collected && child.CollectedBy != c.By {
		l.problems.Add(by.at, "%s is already collected by %s; a table can be collected by one column only", child.Name(), child.CDC.Columns[child.CollectedBy].Name)
		return nil
	}
	child.Collected, child.CollectedBy = true, c.By
	if column := l.decoder.word(source, "column"); column.given() {
		if c.Column, ok = l.payloadColumn(child, column); !ok {
			return nil
		}
	}
	return c
}

// mergeFields adds declared fields to an object. A field that replaces one of its name keeps the position of that one.
func mergeFields(object, declared []rules.Field) []rules.Field {
	out := slices.Clone(object)
	for _, f := range declared {
		if i := slices.IndexFunc(out, func(o rules.Field) bool { return o.Name == f.Name && o.Kind != rules.SpliceField }); i >= 0 {
			out[i] = f
			continue
		}
		out = append(out, f)
	}
	return out
}

// loadObject builds the table's object from its data list, or else from its key, parents and columns.
func (l *loader) loadObject(t *rules.Table) {
	declared := append(l.declaredFields(t, t.Source), l.loadChildren(t)...)
	for _, f := range declared {
		t.Declared[f.Name] = f
	}
	items := l.decoder.words(t.Source, "data", false)
	if items == nil {
		items = defaultItems(t, l.silentDecoder())
	}
	t.Object = mergeFields(l.fields(t, items, t.Declared), declared)
}

// defaultItems returns the key columns and parents that columns does not list, followed by columns.
func defaultItems(t *rules.Table, d decoder) []word {
	var listed []word
	for _, w := range d.words(t.Source, "columns", false) {
		text, _ := unquoteItem(w.text)
		listed = append(listed, word{text, w.at})
	}
	isListed := func(column string) bool {
		return slices.ContainsFunc(listed, func(w word) bool {
			source, _, _ := cutAlias(t, w.text)
			return source == column
		})
	}
	var items []word
	for i, c := range t.CDC.Columns {
		if _, isParent := t.ParentOf(i); !isListed(c.Name) && (i < t.CDC.KeyColumns || isParent) && !t.Secret[i] {
			items = append(items, word{c.Name, t.At})
		}
	}
	return append(items, listed...)
}

// fieldNames lists the names of the members that fields write, including those of spliced objects.
func fieldNames(t *rules.Table, fields []rules.Field, depth int) []string {
	var out []string
	for _, f := range fields {
		if f.Kind != rules.SpliceField {
			out = append(out, f.Name)
		} else if depth < rules.MaxEmbedding {
			parent := t.Parents[f.Parent].Table
			out = append(out, fieldNames(parent, parent.Object, depth+1)...)
		}
	}
	return out
}

// checkUniqueNames reports a member that would be written twice.
func (l *loader) checkUniqueNames(t *rules.Table, fields []rules.Field, at rules.Position) {
	all := fieldNames(t, fields, 0)
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] {
			l.problems.Add(at, "the data of %s has two fields named %q; rename one of them with \"… as NAME\"", t.Name(), all[i])
			return
		}
	}
}

// refuseCycles reports objects that would contain themselves.
func (l *loader) refuseCycles() bool {
	found := false
	for _, t := range l.rules.Mapped {
		if reaches(t, t, 0) {
			found = true
			l.problems.Add(t.At, "the data of %s would contain itself through include, collect or \"….*\"; remove one of them", t.Name())
		}
	}
	return found
}

func reaches(from, goal *rules.Table, depth int) bool {
	if depth > rules.MaxEmbedding {
		return true
	}
	for _, f := range from.Object {
		next := f.Embeds(from)
		if next != nil && (next == goal || reaches(next, goal, depth+1)) {
			return true
		}
	}
	return false
}

func markEmbedded(fields []rules.Field, t *rules.Table) {
	for _, f := range fields {
		if next := f.Embeds(t); next != nil {
			next.Embedded = true
		}
	}
}
