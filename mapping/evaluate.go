package mapping

import (
	"fmt"

	"github.com/expr-lang/expr/vm"
)

// evaluator runs conditions. Its stack is reused.
type evaluator struct {
	machine vm.VM
	scope   scope
}

// holds reports whether the condition is true in the evaluator's scope; a nil condition is.
func (e *evaluator) holds(c *condition) (bool, error) {
	if c == nil {
		return true, nil
	}
	result, err := e.machine.Run(c.program, &e.scope)
	if err != nil {
		return false, fmt.Errorf("%s:%d: evaluate condition %q on table %s: %s", c.at.file, c.at.line, c.source, c.table.name(), firstLine(err))
	}
	yes, ok := result.(bool)
	return ok && yes, nil
}
