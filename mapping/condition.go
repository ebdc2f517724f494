package mapping

import (
	"errors"
	"regexp"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// condition is a compiled expression over a row change.
//
// In a rule, an expression can use row (the row after the change, or before a delete), old (the row before the change; nil
// on an insert), changed("a", "b") and parent("fk"). A bare condition (root_tenant, deleted) uses the columns by their
// names. Columns are bool, int, float or string, depending on their type; any other type is a string. Null equals only nil;
// every other comparison with null is false.
type condition struct {
	source  string
	at      position
	table   *table
	bare    bool
	program *vm.Program
	parents []int // that parent(…) looks up, as indexes into the table's parents

	usesOld     bool
	usesRow     bool
	usesChanged bool
	patterns    map[string]*regexp.Regexp // of the operator matches
}

const (
	maxConditionLength = 4096 // bytes
	maxConditionNodes  = 300
)

// conditionFunctions lists the functions of the expr library that a condition may call.
var conditionFunctions = []string{"len", "lower", "upper", "trim"}

// condition reads and compiles an expression. It reports a problem and returns nil if the expression is not valid.
func (l *loader) condition(w word, t *table, bare bool) *condition {
	if !w.given() {
		return nil
	}
	if len(w.text) > maxConditionLength {
		l.problems.add(w.at, "the condition has %d bytes; the limit is %d", len(w.text), maxConditionLength)
		return nil
	}
	c := &condition{source: w.text, at: w.at, table: t, bare: bare}
	config := conf.CreateNew()
	config.MaxNodes = maxConditionNodes
	tree, err := parser.ParseWithConfig(w.text, config)
	if err != nil {
		l.problems.add(w.at, "condition %q: %s", w.text, firstLine(err))
		return nil
	}
	check := conditionCheck{loader: l, condition: c, handled: map[ast.Node]bool{}}
	if !check.run(&tree.Node) {
		return nil
	}
	if c.program, err = compileProgram(c); err != nil {
		l.problems.add(w.at, "condition %q: %s", w.text, firstLine(err))
		return nil
	}
	return c
}

// compileProgram compiles the expression with untyped columns. Bind checks the types.
func compileProgram(c *condition) (*vm.Program, error) {
	return expr.Compile(c.source, append(conditionLimits(),
		expr.Env(&scope{}),
		expr.Function(valueFunction, scopeValue),
		expr.Function(existsFunction, scopeExists),
		expr.Function(changedFunction, scopeChanged, new(func(*scope, ...int) bool)),
		expr.Patch(&columnPatch{condition: c}),
		expr.Patch(&rowPatch{condition: c}),
		expr.Function(arithmeticFunction, arithmetic),
		expr.Function(matchesFunction, c.matches, new(func(any, string) bool)),
		expr.Patch(&nullPatch{}),
		expr.Patch(arithmeticPatch{}),
	)...)
}

func conditionLimits() []expr.Option {
	options := []expr.Option{expr.AsBool(), expr.MaxNodes(4 * maxConditionNodes), expr.DisableAllBuiltins()}
	for _, f := range conditionFunctions {
		options = append(options, expr.EnableBuiltin(f))
	}
	return options
}

// firstLine drops the source excerpt from an error of expr; our messages quote the whole condition.
func firstLine(err error) string {
	if e, ok := errors.AsType[*file.Error](err); ok {
		return e.Message
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
