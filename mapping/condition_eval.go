package mapping

import (
	"fmt"

	"github.com/expr-lang/expr/vm"
)

// ConditionFailure reports a condition that could not be evaluated for a row.
type ConditionFailure struct {
	File      string
	Line      int
	Condition string // the expression
	Table     string
	Reason    string // without values of the row
}

func (f ConditionFailure) String() string {
	return fmt.Sprintf("%s:%d: condition %q on table %s: %s", f.File, f.Line, f.Condition, f.Table, f.Reason)
}

// evaluator runs conditions. It reuses the stack of the virtual machine.
type evaluator struct {
	machine vm.VM
	scope   scope
	failed  func(ConditionFailure) // may be nil
}

// holds reports whether the condition is true in the evaluator's scope. A nil condition is always true. A condition that
// cannot be evaluated for the row, for example because of a division by zero, is false: the content of a row must not be
// able to stop replication.
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

// OnConditionFailure sets a function to call when a condition cannot be evaluated for a row. It may be called several times
// for one row.
func (m *Mapper) OnConditionFailure(report func(ConditionFailure)) { m.eval.failed = report }
