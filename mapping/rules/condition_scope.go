package rules

import (
	"errors"
	"strconv"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// Scope is the environment of a compiled condition. The compiler replaces row.x by a call with the index of x, so that no
// map has to be built for a row.
type Scope struct {
	Bound *BoundTable
	Look  Lookup
	Row   cdc.Row
	Old   cdc.Row // nil on an insert
	// Differs holds, for each column, whether it changed; nil on an insert or a delete, where every column counts as changed.
	Differs []bool
}

// Lookup finds rows other than the changed one.
type Lookup interface {
	ParentRow(t *Table, key cdc.Key) cdc.Row
	Bound(t *Table) *BoundTable
}

const (
	valueFunction   = "__value"
	existsFunction  = "__exists"
	changedFunction = "__changed"
	// The first argument of value and exists selects a row: the index of a parent, or one of these.
	whichRow = -1
	whichOld = -2
)

var errNoScope = errors.New("condition evaluated without a row")

func (s *Scope) rowOf(which int) (*BoundTable, cdc.Row) {
	switch which {
	case whichRow:
		return s.Bound, s.Row
	case whichOld:
		return s.Bound, s.Old
	}
	p := s.Bound.Table.Parents[which]
	v := ValueAt(s.Row, p.Column)
	if v.Kind != cdc.Text {
		return nil, nil
	}
	return s.Look.Bound(p.Table), s.Look.ParentRow(p.Table, cdc.Key(v.Text))
}

func scopeValue(params ...any) (any, error) {
	s, ok := params[0].(*Scope)
	if !ok {
		return nil, errNoScope
	}
	bound, row := s.rowOf(params[1].(int))
	if row == nil || bound == nil {
		return nil, nil
	}
	column := params[2].(int)
	return exprValue(ValueAt(row, column), bound.Formats[column].Type), nil
}

func scopeExists(params ...any) (any, error) {
	s, ok := params[0].(*Scope)
	if !ok {
		return nil, errNoScope
	}
	if _, row := s.rowOf(params[1].(int)); row == nil {
		return nil, nil
	}
	return true, nil
}

func scopeChanged(params ...any) (any, error) {
	s, ok := params[0].(*Scope)
	if !ok {
		return nil, errNoScope
	}
	if s.Differs == nil {
		return true, nil
	}
	for _, column := range params[1:] {
		if s.Differs[column.(int)] {
			return true, nil
		}
	}
	return false, nil
}

// ValueAt reads a column of a row that may be shorter than its table, as a row that was mirrored under an older mapping is.
func ValueAt(row cdc.Row, column int) cdc.Value {
	if column < len(row) {
		return row[column]
	}
	return cdc.Value{}
}

// exprValue converts a value to the type that typeCheck declared for its column, or to nil.
func exprValue(v cdc.Value, t value.Type) any {
	if v.Kind != cdc.Text {
		return nil
	}
	if t.Array {
		return v.Text
	}
	switch t.Kind {
	case value.Bool:
		return v.Text == "t" || v.Text == "true"
	case value.Int:
		if i, err := strconv.Atoi(v.Text); err == nil {
			return i
		}
		return nil
	case value.Number:
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil {
			return f
		}
		return nil
	}
	return v.Text
}
