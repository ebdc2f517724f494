package engine

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// member is a value that a child contributes, with the name under which an object has it.
type member struct {
	name  string
	value []byte // JSON
}

// children appends what the children of a row show, ordered by value: an order by key would change with the keys.
func (r *renderer) children(dst []byte, c *rules.Children, row cdc.Row, before bool) []byte {
	members := r.members(c, row, before)
	slices.SortFunc(members, func(a, b member) int { return cmp.Or(cmp.Compare(a.name, b.name), bytes.Compare(a.value, b.value)) })
	if c.Object != nil {
		return appendObject(dst, members, c.Object.Multi)
	}
	dst = append(dst, '[')
	for i, one := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, one.value...)
	}
	return append(dst, ']')
}

// members renders the children one by one, in no particular order.
func (r *renderer) members(c *rules.Children, row cdc.Row, before bool) []member {
	child := r.t.bound(c.Table)
	rows := r.t.children(&c.Collect, cdc.Key(rules.ValueAt(row, 0).Text), before)
	if partial, ok := r.t.rows.(PartialRows); ok && partial.ChildrenOmitted() {
		r.tooLarge = true
	}
	var out []member
	size := 0
	for _, one := range rows {
		if r.t.m.isSoftDeleted(child, one) || !r.t.m.selects(c.Where, child, one) {
			continue
		}
		m := r.member(c, child, one, before)
		if size += len(m.name) + len(m.value); size > r.t.m.maxBody {
			r.tooLarge = true
			break
		}
		out = append(out, m)
	}
	return out
}

func (r *renderer) member(c *rules.Children, child *rules.BoundTable, row cdc.Row, before bool) member {
	switch {
	case c.Object != nil:
		m := member{name: rules.ValueAt(row, c.Object.Key).Text}
		column := c.Object.Values[0]
		for _, i := range c.Object.Values {
			if column = i; rules.ValueAt(row, i).Kind == cdc.Text {
				break
			}
		}
		m.value = r.column(nil, child, row, column)
		return m
	case c.Column >= 0:
		return member{value: r.column(nil, child, row, c.Column)}
	}
	return member{value: r.object(nil, c.Table.Object, child, row, before)}
}

// appendObject appends sorted members as an object: with arrays of values if multi, else with the first value of each name.
func appendObject(dst []byte, members []member, multi bool) []byte {
	dst = append(dst, '{')
	for i := 0; i < len(members); {
		if i > 0 {
			dst = append(dst, ',')
		}
		name := members[i].name
		dst = append(value.AppendString(dst, name), ':')
		if multi {
			dst = append(dst, '[')
		}
		for first := true; i < len(members) && members[i].name == name; i, first = i+1, false {
			switch {
			case first:
				dst = append(dst, members[i].value...)
			case multi:
				dst = append(append(dst, ','), members[i].value...)
			}
		}
		if multi {
			dst = append(dst, ']')
		}
	}
	return append(dst, '}')
}

// selects reports whether a condition on a row is true. A nil condition always is.
func (m *Mapper) selects(c *rules.Condition, b *rules.BoundTable, row cdc.Row) bool {
	if c == nil {
		return true
	}
	m.eval.Scope = rules.Scope{Bound: b, Row: row}
	return m.eval.Holds(c)
}
