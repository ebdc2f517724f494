package mapping

import (
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
)

// renderer appends the data of one event. It keeps the first error. Once the data is too large it appends little more, and
// the result must not be used.
type renderer struct {
	t        *Transaction
	err      error
	tooLarge bool
}

// exceeds reports whether the data exceeds the limit of a body.
func (r *renderer) exceeds(dst []byte) bool {
	r.tooLarge = r.tooLarge || len(dst) > r.t.m.maxBody
	return r.tooLarge
}

// data appends the data of an event. before selects children as they were before the transaction, for a row that it deleted.
func (r *renderer) data(dst []byte, d eventData, b *boundTable, row cdc.Row, before bool) []byte {
	if d.bare {
		return r.value(dst, &d.fields[0], b, row, before)
	}
	return r.object(dst, d.fields, b, row, before)
}

func (r *renderer) object(dst []byte, fields []field, b *boundTable, row cdc.Row, before bool) []byte {
	dst = append(dst, '{')
	dst = r.members(dst, fields, b, row, before)
	return append(dst, '}')
}

// members appends the members of an object without the braces.
func (r *renderer) members(dst []byte, fields []field, b *boundTable, row cdc.Row, before bool) []byte {
	for i := range fields {
		if r.exceeds(dst) {
			return dst
		}
		f := &fields[i]
		if v := valueAt(row, f.column); f.omitNull && v.Kind != cdc.Text && v.Kind != cdc.Unchanged {
			continue
		}
		if f.kind == spliceField {
			if parent, parentRow, deleted := r.parent(b, f.parent, row); parentRow != nil {
				dst = r.members(dst, parent.table.object, parent, parentRow, deleted)
			}
			continue
		}
		dst = append(separate(dst), f.prefix...)
		dst = r.value(dst, f, b, row, before)
	}
	return dst
}

// separate appends a comma unless the next member is the first one.
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
		return appendUUID(dst, valueAt(row, f.column))
	case literalField:
		return append(dst, f.literal...)
	case collectField:
		return r.collect(dst, f.collect, row, before)
	case parentColumn, includeField:
		parent, parentRow, deleted := r.parent(b, f.parent, row)
		if parentRow == nil {
			return append(dst, "null"...)
		}
		if f.kind == parentColumn {
			return r.column(dst, parent, parentRow, f.column)
		}
		return r.object(dst, parent.table.object, parent, parentRow, deleted)
	}
	return dst
}

func (r *renderer) column(dst []byte, b *boundTable, row cdc.Row, column int) []byte {
	v := valueAt(row, column)
	if v.Kind == cdc.Unchanged && r.err == nil {
		r.err = fmt.Errorf("the value of %s.%s is neither in the WAL nor in the mirror; run iam-relay reconcile --skip-wal to read the tables instead",
			b.table.name(), b.table.cdc.Columns[column].Name)
	}
	f := &b.formats[column]
	// Compact JSON may be shorter than the value, but not by that much.
	if f.spec == nil && len(v.Text) > 4*r.t.m.maxBody {
		r.tooLarge = true
		return dst
	}
	return f.appendValue(dst, v)
}

// parent returns the row that a foreign key refers to, and whether this transaction deleted it.
func (r *renderer) parent(b *boundTable, i int, row cdc.Row) (*boundTable, cdc.Row, bool) {
	p := b.table.parents[i]
	v := valueAt(row, p.column)
	if v.Kind != cdc.Text {
		return nil, nil, false
	}
	key := cdc.Key(v.Text)
	return r.t.bound(p.table), r.t.parentRow(p.table, key), r.t.deleted.has(p.table, key)
}

func (r *renderer) collect(dst []byte, c *collect, row cdc.Row, before bool) []byte {
	dst = append(dst, '[')
	child := r.t.bound(c.table)
	children := r.t.children(c, cdc.Key(valueAt(row, 0).Text), before)
	if rows, ok := r.t.rows.(PartialRows); ok && rows.ChildrenOmitted() {
		r.tooLarge = true
	}
	for i, one := range children {
		if r.exceeds(dst) {
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
