package engine

import (
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/value"
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
func (r *renderer) data(dst []byte, d rules.Data, b *rules.BoundTable, row cdc.Row, before bool) []byte {
	if d.Bare {
		return r.value(dst, &d.Fields[0], b, row, before)
	}
	return r.object(dst, d.Fields, b, row, before)
}

func (r *renderer) object(dst []byte, fields []rules.Field, b *rules.BoundTable, row cdc.Row, before bool) []byte {
	dst = append(dst, '{')
	dst = r.fields(dst, fields, b, row, before)
	return append(dst, '}')
}

// fields appends the members of an object without the braces.
func (r *renderer) fields(dst []byte, fields []rules.Field, b *rules.BoundTable, row cdc.Row, before bool) []byte {
	for i := range fields {
		if r.exceeds(dst) {
			return dst
		}
		f := &fields[i]
		if v := rules.ValueAt(row, f.Column); f.OmitNull && v.Kind != cdc.Text && v.Kind != cdc.Unchanged {
			continue
		}
		if f.Kind == rules.SpliceField {
			if parent, parentRow, deleted := r.parent(b, f.Parent, row); parentRow != nil {
				dst = r.fields(dst, parent.Table.Object, parent, parentRow, deleted)
			}
			continue
		}
		dst = append(separate(dst), f.Prefix...)
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

func (r *renderer) value(dst []byte, f *rules.Field, b *rules.BoundTable, row cdc.Row, before bool) []byte {
	switch f.Kind {
	case rules.ColumnField:
		return r.column(dst, b, row, f.Column)
	case rules.UUIDField:
		return value.AppendUUID(dst, rules.ValueAt(row, f.Column))
	case rules.LiteralField:
		return append(dst, f.Literal...)
	case rules.ChildrenField:
		return r.children(dst, f.Children, row, before)
	case rules.CollectField:
		return r.collect(dst, f.Collect, row, before)
	case rules.ParentColumn, rules.IncludeField:
		parent, parentRow, deleted := r.parent(b, f.Parent, row)
		if parentRow == nil {
			return append(dst, "null"...)
		}
		if f.Kind == rules.ParentColumn {
			return r.column(dst, parent, parentRow, f.Column)
		}
		return r.object(dst, parent.Table.Object, parent, parentRow, deleted)
	}
	return dst
}

func (r *renderer) column(dst []byte, b *rules.BoundTable, row cdc.Row, column int) []byte {
	v := rules.ValueAt(row, column)
	if v.Kind == cdc.Unchanged && r.err == nil {
		r.err = fmt.Errorf("the value of %s.%s is neither in the WAL nor in the mirror; run iam-relay reconcile --skip-wal to read the tables instead",
			b.Table.Name(), b.Table.CDC.Columns[column].Name)
	}
	f := &b.Formats[column]
	// Compact JSON may be shorter than the value, but not by that much.
	if f.Spec == nil && len(v.Text) > 4*r.t.m.maxBody {
		r.tooLarge = true
		return dst
	}
	return f.AppendValue(dst, v)
}

// parent returns the row that a foreign key refers to, and whether this transaction deleted it.
func (r *renderer) parent(b *rules.BoundTable, i int, row cdc.Row) (*rules.BoundTable, cdc.Row, bool) {
	p := b.Table.Parents[i]
	v := rules.ValueAt(row, p.Column)
	if v.Kind != cdc.Text {
		return nil, nil, false
	}
	key := cdc.Key(v.Text)
	return r.t.bound(p.Table), r.t.parentRow(p.Table, key), r.t.deleted.has(p.Table, key)
}

func (r *renderer) collect(dst []byte, c *rules.Collect, row cdc.Row, before bool) []byte {
	dst = append(dst, '[')
	child := r.t.bound(c.Table)
	children := r.t.children(c, cdc.Key(rules.ValueAt(row, 0).Text), before)
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
		if c.Column >= 0 {
			dst = r.column(dst, child, one, c.Column)
		} else {
			dst = r.object(dst, c.Table.Object, child, one, before)
		}
	}
	return append(dst, ']')
}
