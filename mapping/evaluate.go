package mapping

import (
	"fmt"

	"github.com/expr-lang/expr/vm"
)

// ConditionFailure is a condition that could not be computed for a row.
type ConditionFailure struct {
	// File, Line and Condition are where it stands and what it says.
	File      string
	Line      int
	Condition string
	Table     string
	// Reason names no value of the row.
	Reason string
}

func (f ConditionFailure) String() string {
	return fmt.Sprintf("%s:%d: condition %q on table %s: %s", f.File, f.Line, f.Condition, f.Table, f.Reason)
}

// evaluator runs conditions. Its stack is reused.
type evaluator struct {
	machine vm.VM
	scope   scope
	failed  func(ConditionFailure) // may be nil
}

// holds reports whether the condition is true in the evaluator's scope; a nil condition is. One that cannot be computed for the
// row, such as a remainder by zero, does not hold: what somebody writes into a row must not stop the stream.
func (e *evaluator) holds(c *condition) bool {
	if c == nil {
		return true
	}
	result, err := e.machine.Run(c.program, &e.scope)
	if err != nil {
		if e.failed != nil {
			e.failed(ConditionFailure{File: c.at.File, Line: c.at.Line, Condition: c.source, Table: c.table.name(), Reason: firstLine(err)})
		}
		return false
	}
	yes, ok := result.(bool)
	return ok && yes
}

// OnConditionFailure sets what is called when a condition cannot be computed for a row; it may be called several times for one row.
func (m *Mapper) OnConditionFailure(report func(ConditionFailure)) { m.eval.failed = report }
