package mapping

import (
	"fmt"
	"strconv"

	"github.com/iam-relay/iam-relay/cdc"
)

// scope is what a condition sees: the environment of the compiled program, in which row.x has become a call with x's
// position, so that no map is built for a row.
type scope struct {
	bound *boundTable
	look  lookup
	row   cdc.Row
	old   cdc.Row // nil on an insert
	// differs tells of each column whether it changed; nil on an insert or a delete, where every column counts as changed.
	differs []bool
}

// lookup finds rows that are not the one at hand.
type lookup interface {
	parentRow(t *table, key cdc.Key) cdc.Row
	bound(t *table) *boundTable
}

const (
	valueFunction   = "__value"
	existsFunction  = "__exists"
	changedFunction = "__changed"
	// The first argument of value and exists: which row. From 0 on it is a parent.
	rowItself = -1
	rowOld    = -2
)

func (s *scope) which(i int) (*boundTable, cdc.Row) {
	switch i {
	case rowItself:
		return s.bound, s.row
	case rowOld:
		return s.bound, s.old
	}
	p := s.bound.table.parents[i]
	v := at(s.row, p.column)
	if v.Kind != cdc.Text {
		return nil, nil
	}
	return s.look.bound(p.table), s.look.parentRow(p.table, cdc.Key(v.Text))
}

func scopeValue(params ...any) (any, error) {
	s, ok := params[0].(*scope)
	if !ok {
		return nil, fmt.Errorf("condition evaluated without a row")
	}
	bound, row := s.which(params[1].(int))
	if row == nil || bound == nil {
		return nil, nil
	}
	column := params[2].(int)
	return native(at(row, column), bound.formats[column].columnType), nil
}

func scopeExists(params ...any) (any, error) {
	s, ok := params[0].(*scope)
	if !ok {
		return nil, fmt.Errorf("condition evaluated without a row")
	}
	if _, row := s.which(params[1].(int)); row == nil {
		return nil, nil
	}
	return true, nil
}

func scopeChanged(params ...any) (any, error) {
	s, ok := params[0].(*scope)
	if !ok {
		return nil, fmt.Errorf("condition evaluated without a row")
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

// at reads a row that may be shorter than its table, as one mirrored under an older mapping is.
func at(row cdc.Row, column int) cdc.Value {
	if column < len(row) {
		return row[column]
	}
	return cdc.Value{}
}

// native gives expr a value of the type that it was checked with, or nil.
func native(v cdc.Value, t columnType) any {
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
