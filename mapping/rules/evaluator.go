package rules

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

// Evaluator runs conditions. It reuses the stack of the virtual machine.
type Evaluator struct {
	machine vm.VM
	Scope   Scope
	Failed  func(ConditionFailure) // may be nil
}

// Holds reports whether the condition is true in the evaluator's scope. A nil condition is always true. A condition that
// cannot be evaluated for the row, for example because of a division by zero, is false: the content of a row must not be
// able to stop replication.
func (e *Evaluator) Holds(c *Condition) bool {
	if c == nil {
		return true
	}
	result, err := e.machine.Run(c.Program, &e.Scope)
	if err != nil {
		if e.Failed != nil {
			e.Failed(ConditionFailure{File: c.At.File, Line: c.At.Line, Condition: c.Source, Table: c.Table.Name(), Reason: FirstLine(err)})
		}
		return false
	}
	yes, ok := result.(bool)
	return ok && yes
}
