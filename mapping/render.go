package mapping

import (
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
)

// renderer appends the data of one event. The first error sticks. Once the data is too large, little more is appended, and
// what was appended is of no use.
type renderer struct {
	t        *Transaction
	err      error
	tooLarge bool
}

// over reports whether dst is more than a body may be.
func (r *renderer) over(dst []byte) bool {
	r.tooLarge = r.tooLarge || len(dst) > r.t.m.maxBody
	return r.tooLarge
}

// data appends an event's data. before says that children are wanted as they were before the transaction, as for a row
// that it deleted.
func (r *renderer) data(dst []byte, s shape, b *boundTable, row cdc.Row, before bool) []byte {
	if s.bare {
		return r.value(dst, &s.fields[0], b, row, before)
	}
	return r.object(dst, s.fields, b, row, before)
}

func (r *renderer) object(dst []byte, fields []field, b *boundTable, row cdc.Row, before bool) []byte {
	dst = append(dst, '{')
	dst = r.members(dst, fields, b, row, before)
	return append(dst, '}')
}

// members appends the members of an object without its braces.
func (r *renderer) members(dst []byte, fields []field, b *boundTable, row cdc.Row, before bool) []byte {
	for i := range fields {
		if r.over(dst) {
			return dst
		}
		f := &fields[i]
		if v := at(row, f.column); f.omitNull && v.Kind != cdc.Text && v.Kind != cdc.Unchanged {
			continue
		}
		if f.kind == spliceField {
			if parent, up, deleted := r.parent(b, f.parent, row); up != nil {
				dst = r.members(dst, parent.table.object, parent, up, deleted)
			}
			continue
		}
		dst = append(separate(dst), f.prefix...)
		dst = r.value(dst, f, b, row, before)
	}
	return dst
}

// separate appends a comma unless a member would come first.
func separate(dst []byte) []byte {
	if last := dst[len(dst)-1]; last == '{' || last == ',' {
		return dst
	}
	return append(dst, ',')
}

func (r *renderer) value(dst []byte, f *field, b *boundTable, row cdc.Row, before bool) []byte {
	switch f.kind {
	case columnField:
		return r.column(dst, b, row, f.column)
	case uuidField:
		return appendUUID(dst, at(row, f.column))
	case literalField:
		return append(dst, f.literal...)
	case collectField:
		return r.collect(dst, f.collect, row, before)
	case parentColumn, includeField:
		parent, up, deleted := r.parent(b, f.parent, row)
		if up == nil {
			return append(dst, "null"...)
		}
		if f.kind == parentColumn {
			return r.column(dst, parent, up, f.column)
		}
		return r.object(dst, parent.table.object, parent, up, deleted)
	}
	return dst
}

func (r *renderer) column(dst []byte, b *boundTable, row cdc.Row, column int) []byte {
	v := at(row, column)
	if v.Kind == cdc.Unchanged && r.err == nil {
		r.err = fmt.Errorf("value of %s.%s is not in the log and its row is not in the mirror: copy the table anew",
			b.table.name(), b.table.cdc.Columns[column].Name)
	}
	f := &b.formats[column]
	if f.spec == nil && len(v.Text) > 4*r.t.m.maxBody { // it may become shorter, by white space in JSON, but not by that much
		r.tooLarge = true
		return dst
	}
	return f.appendValue(dst, v)
}

// parent gives the row that a foreign key refers to, and whether this transaction deleted it.
func (r *renderer) parent(b *boundTable, i int, row cdc.Row) (*boundTable, cdc.Row, bool) {
	p := b.table.parents[i]
	v := at(row, p.column)
	if v.Kind != cdc.Text {
		return nil, nil, false
	}
	key := cdc.Key(v.Text)
	return r.t.bound(p.table), r.t.parentRow(p.table, key), r.t.deleted.has(p.table, key)
}

func (r *renderer) collect(dst []byte, c *collect, row cdc.Row, before bool) []byte {
	dst = append(dst, '[')
	child := r.t.bound(c.table)
	children := r.t.children(c, cdc.Key(at(row, 0).Text), before)
	if rows, ok := r.t.rows.(PartialRows); ok && rows.Partly() {
		r.tooLarge = true
	}
	for i, one := range children {
		if r.over(dst) {
			break
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		if c.column >= 0 {
			dst = r.column(dst, child, one, c.column)
		} else {
			dst = r.object(dst, c.table.object, child, one, before)
		}
	}
	return append(dst, ']')
}
