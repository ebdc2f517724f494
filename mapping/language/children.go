package language

import (
	"regexp"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

var coalesceForm = regexp.MustCompile(`^coalesce\((.*)\)$`)

// loadChildren reads children of a table. It returns the fields that show them.
func (l *loader) loadChildren(t *rules.Table) []rules.Field {
	source := t.Source.Get("children")
	if source == nil || !l.decoder.table(source, "children") {
		return nil
	}
	var out []rules.Field
	for _, e := range source.Entries {
		where := "children." + e.Key
		l.decoder.checkKeys(e.Value, where, "table", "by", "where", "values", "object", "hidden")
		if e.Value.Kind != tomlpos.Table {
			continue
		}
		if t.CDC.KeyColumns != 1 {
			l.problems.Add(e.At, "%s: children need a parent with a key of one column; the key of %s has %d", where, t.Name(), t.CDC.KeyColumns)
			continue
		}
		c := l.children(e.Value, where)
		if c == nil {
			continue
		}
		c.Name = e.Key
		c.SetParent(t)
		t.Collects = true
		t.Children = append(t.Children, c)
		c.Table.ChildOf = append(c.Table.ChildOf, rules.ChildOf{Parent: t, Children: c})
		c.Table.Embedded = c.Table.Embedded || c.Column < 0 && c.Object == nil
		if !c.Hidden {
			out = append(out, rules.Field{Kind: rules.ChildrenField, Children: c}.WithName(e.Key))
		}
	}
	return out
}

// children reads { table, by, where, values, object, hidden }.
func (l *loader) children(source *tomlpos.Node, where string) *rules.Children {
	base := l.collect(source, where)
	if base == nil {
		return nil
	}
	c := &rules.Children{Collect: *base}
	c.Hidden, _ = l.decoder.bool(source, "hidden")
	c.Where = l.condition(l.decoder.word(source, "where"), c.Table, true)
	values, object := l.decoder.word(source, "values"), source.Get("object")
	if values.given() && object != nil {
		l.problems.Add(values.at, "%s: values and object cannot be combined; remove one of them", where)
	}
	if values.given() {
		c.Column, _ = l.childColumn(c, values)
	}
	if object != nil {
		c.Object = l.childObject(c, object, where+".object")
	}
	return c
}

func (l *loader) childObject(c *rules.Children, source *tomlpos.Node, where string) *rules.ChildObject {
	l.decoder.checkKeys(source, where, "key", "value", "multi")
	if source.Kind != tomlpos.Table {
		return nil
	}
	key, value := l.decoder.word(source, "key"), l.decoder.word(source, "value")
	if !key.given() || !value.given() {
		l.problems.Add(source.At, "%s needs key and value, for example { key = \"name\", value = \"value\" }", where)
		return nil
	}
	o := &rules.ChildObject{}
	o.Key, _ = l.childColumn(c, key)
	o.Multi, _ = l.decoder.bool(source, "multi")
	names := []string{value.text}
	if m := coalesceForm.FindStringSubmatch(value.text); m != nil {
		names = strings.Split(m[1], ",")
	}
	for _, name := range names {
		if i, ok := l.childColumn(c, word{strings.TrimSpace(name), value.at}); ok {
			o.Values = append(o.Values, i)
		}
	}
	return o
}

// childColumn resolves a column of the children. Hidden children may use secrets, which are compared and not shown.
func (l *loader) childColumn(c *rules.Children, w word) (int, bool) {
	if c.Hidden {
		return l.column(c.Table, w)
	}
	return l.payloadColumn(c.Table, w)
}

// refuseNestedChildren reports children that have watched children themselves.
func (l *loader) refuseNestedChildren() {
	for _, t := range l.rules.Mapped {
		if len(t.Children) > 0 && len(t.ChildOf) > 0 {
			l.problems.Add(t.At, "%s has children and is itself among the children of %s; only one level can be watched: use collect for the inner one",
				t.Name(), t.ChildOf[0].Parent.Name())
		}
	}
}

// childrenNamed returns the children of that name, or nil.
func childrenNamed(t *rules.Table, name string) *rules.Children {
	i := slices.IndexFunc(t.Children, func(c *rules.Children) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return t.Children[i]
}
