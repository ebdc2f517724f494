package mapping

import (
	"errors"
	"strconv"

	"github.com/iam-relay/iam-relay/cdc"
)

// scope is the environment of a compiled condition. The compiler replaces row.x by a call with the index of x, so that no
// map has to be built for a row.
type scope struct {
	bound *boundTable
	look  lookup
	row   cdc.Row
	old   cdc.Row // nil on an insert
	// differs holds, for each column, whether it changed; nil on an insert or a delete, where every column counts as changed.
	differs []bool
}

// lookup finds rows other than the changed one.
type lookup interface {
	parentRow(t *table, key cdc.Key) cdc.Row
	bound(t *table) *boundTable
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

func (s *scope) rowOf(which int) (*boundTable, cdc.Row) {
	switch which {
	case whichRow:
		return s.bound, s.row
	case whichOld:
		return s.bound, s.old
	}
	p := s.bound.table.parents[which]
	v := valueAt(s.row, p.column)
	if v.Kind != cdc.Text {
		return nil, nil
	}
	return s.look.bound(p.table), s.look.parentRow(p.table, cdc.Key(v.Text))
}

func scopeValue(params ...any) (any, error) {
	s, ok := params[0].(*scope)
	if !ok {
		return nil, errNoScope
	}
	bound, row := s.rowOf(params[1].(int))
	if row == nil || bound == nil {
		return nil, nil
	}
	column := params[2].(int)
	return exprValue(valueAt(row, column), bound.formats[column].columnType), nil
}

func scopeExists(params ...any) (any, error) {
	s, ok := params[0].(*scope)
	if !ok {
		return nil, errNoScope
	}
	if _, row := s.rowOf(params[1].(int)); row == nil {
		return nil, nil
	}
	return true, nil
}

func scopeChanged(params ...any) (any, error) {
	s, ok := params[0].(*scope)
	if !ok {
		return nil, errNoScope
	}
	if s.differs == nil {
		return true, nil
	}
	for _, column := range params[1:] {
		if s.differs[column.(int)] {
			return true, nil
		}
	}
	return false, nil
}

// valueAt reads a column of a row that may be shorter than its table, as a row that was mirrored under an older mapping is.
func valueAt(row cdc.Row, column int) cdc.Value {
	if column < len(row) {
		return row[column]
	}
	return cdc.Value{}
}

// exprValue converts a value to the type that typeCheck declared for its column, or to nil.
func exprValue(v cdc.Value, t columnType) any {
	if v.Kind != cdc.Text {
		return nil
	}
	if t.array {
		return v.Text
	}
	switch t.kind {
	case boolKind:
		return v.Text == "t" || v.Text == "true"
	case intKind:
		if i, err := strconv.Atoi(v.Text); err == nil {
			return i
		}
		return nil
	case numberKind:
		if f, err := strconv.ParseFloat(v.Text, 64); err == nil {
			return f
		}
		return nil
	}
	return v.Text
}
