package rules

import (
	"errors"
	"regexp"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Condition is a compiled expression over a row change.
//
// In a rule, an expression can use row (the row after the change, or before a delete), old (the row before the change; nil
// on an insert), changed("a", "b") and parent("fk"). A bare condition (root_tenant, deleted) uses the columns by their
// names. Columns are bool, int, float or string, depending on their type; any other type is a string. Null equals only nil;
// every other comparison with null is false.
type Condition struct {
	Source  string
	At      Position
	Table   *Table
	Bare    bool
	Program *vm.Program
	Columns []int // of the table that it reads
	Parents []int // that parent(…) looks up, as indexes into the table's parents

	UsesOld     bool
	UsesRow     bool
	UsesChanged bool
	Patterns    map[string]*regexp.Regexp // of the operator matches
}

const (
	MaxConditionLength = 4096 // bytes
	MaxConditionNodes  = 300
)

// ConditionFunctions lists the functions of the expr library that a condition may call.
var ConditionFunctions = []string{"len", "lower", "upper", "trim"}

// CompileProgram compiles the expression with untyped columns. Bind checks the types.
func CompileProgram(c *Condition) (*vm.Program, error) {
	return expr.Compile(c.Source, append(conditionLimits(),
		expr.Env(&Scope{}),
		expr.Function(valueFunction, scopeValue),
		expr.Function(existsFunction, scopeExists),
		expr.Function(changedFunction, scopeChanged, new(func(*Scope, ...int) bool)),
		expr.Patch(&columnPatch{condition: c}),
		expr.Patch(&rowPatch{condition: c}),
		expr.Function(arithmeticFunction, arithmetic),
		expr.Function(matchesFunction, c.matches, new(func(any, string) bool)),
		expr.Patch(&nullPatch{}),
		expr.Patch(arithmeticPatch{}),
	)...)
}

func conditionLimits() []expr.Option {
	options := []expr.Option{expr.AsBool(), expr.MaxNodes(4 * MaxConditionNodes), expr.DisableAllBuiltins()}
	for _, f := range ConditionFunctions {
		options = append(options, expr.EnableBuiltin(f))
	}
	return options
}

// FirstLine drops the source excerpt from an error of expr; our messages quote the whole condition.
func FirstLine(err error) string {
	if e, ok := errors.AsType[*file.Error](err); ok {
		return e.Message
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
