package mapping

import (
	"errors"
	"regexp"
	"slices"
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
// In a rule it sees row (the row as it is after, or was before a delete), old (the row before; nil on an insert),
// changed("a", "b") and parent("fk"). A bare condition (root_tenant, deleted) sees the columns by their names. Columns are
// bool, int, float or string by their type, everything else is a string. Null equals only nil; any other comparison with null is
// false.
type condition struct {
	source  string
	at      position
	table   *table
	bare    bool
	program *vm.Program
	// parents are those that parent(…) looks up.
	parents     []int
	usesOld     bool
	usesRow     bool
	usesChanged bool
	patterns    map[string]*regexp.Regexp // of matches
}

const (
	maxConditionLength = 4096
	maxConditionNodes  = 300
)

// conditionFunctions of the expr library that a condition may call.
var conditionFunctions = []string{"len", "lower", "upper", "trim"}

// condition reads and compiles an expression, or reports what is wrong and returns nil.
func (l *loader) condition(w word, t *table, bare bool) *condition {
	if !w.given() {
		return nil
	}
	if len(w.text) > maxConditionLength {
		l.problems.add(w.at, "condition is longer than %d characters", maxConditionLength)
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
	check := conditionCheck{loader: l, condition: c, inner: map[ast.Node]bool{}}
	if !check.run(&tree.Node) {
		return nil
	}
	if c.program, err = compileProgram(c); err != nil {
		l.problems.add(w.at, "condition %q: %s", w.text, firstLine(err))
		return nil
	}
	return c
}

// compileProgram compiles for evaluation, in which columns are untyped; types are checked in Bind.
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

// firstLine drops the source excerpt of expr's messages: the whole condition is quoted before it.
func firstLine(err error) string {
	if e, ok := errors.AsType[*file.Error](err); ok {
		return e.Message
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// conditionCheck walks an expression before it is compiled, for messages that name the right column and for what the
// condition needs.
type conditionCheck struct {
	loader    *loader
	condition *condition
	// inner are nodes that their parent node has dealt with: the row of row.x, the function of a call.
	inner map[ast.Node]bool
	rows  int // references to rows
	bad   bool
}

func (c *conditionCheck) run(root *ast.Node) bool {
	ast.Walk(root, markInner(c.inner))
	ast.Walk(root, c)
	if !c.bad && c.rows == 0 {
		c.report("it looks at no column, so it is always the same")
	}
	return !c.bad
}

type markInner map[ast.Node]bool

func (m markInner) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		m[n.Node] = true
	case *ast.CallNode:
		m[n.Callee] = true
	}
}

func (c *conditionCheck) report(format string, args ...any) {
	c.bad = true
	c.loader.problems.add(c.condition.at, "condition %q: "+format, append([]any{c.condition.source}, args...)...)
}

// Visit implements ast.Visitor.
func (c *conditionCheck) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		c.identifier(n)
	case *ast.MemberNode:
		c.member(n)
	case *ast.CallNode:
		c.call(n)
	case *ast.BuiltinNode:
		if !slices.Contains(conditionFunctions, n.Name) {
			c.report("unknown function %s; there is changed, parent, %s", n.Name, strings.Join(conditionFunctions, ", "))
		}
	case *ast.BinaryNode:
		c.binary(n)
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.ConstantNode,
		*ast.UnaryNode, *ast.ChainNode, *ast.ConditionalNode, *ast.ArrayNode:
	default:
		c.report("it may only compare columns and combine comparisons")
	}
}

// binary finds what could never be computed, and compiles patterns.
func (c *conditionCheck) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		literal, ok := n.Right.(*ast.StringNode)
		if !ok {
			c.report("the pattern of matches must be a string")
			return
		}
		pattern, err := regexp.Compile(literal.Value)
		if err != nil {
			c.report("%v", err)
			return
		}
		if c.condition.patterns == nil {
			c.condition.patterns = map[string]*regexp.Regexp{}
		}
		c.condition.patterns[literal.Value] = pattern
	case "/", "%":
		if isZero(n.Right) {
			c.report("division by zero")
		}
	case "..":
		from, fromOK := n.Left.(*ast.IntegerNode)
		to, toOK := n.Right.(*ast.IntegerNode)
		if !fromOK || !toOK || to.Value < from.Value || to.Value-from.Value >= maxRange {
			c.report("a range is of two whole numbers with at most %d from one to the other, as 1..5", maxRange)
		}
	}
}

func isZero(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return n.Value == 0
	case *ast.FloatNode:
		return n.Value == 0
	case *ast.UnaryNode:
		return (n.Operator == "-" || n.Operator == "+") && isZero(n.Node)
	}
	return false
}

func (c *conditionCheck) identifier(n *ast.IdentifierNode) {
	if c.inner[n] {
		return
	}
	if c.condition.bare && n.Value != envName {
		c.column(c.condition.table, n.Value)
		return
	}
	switch n.Value {
	case "old":
		c.condition.usesOld = true
		c.rows++
	case "row":
		c.report("row is the whole row: name a column, row.column")
	default:
		c.report("unknown name %q%s", n.Value, suggest(n.Value, []string{"row." + n.Value, "old." + n.Value}))
	}
}

func (c *conditionCheck) member(n *ast.MemberNode) {
	property, ok := n.Property.(*ast.StringNode)
	if !ok {
		c.report("a column is named as in row.column")
		return
	}
	switch base := unchain(n.Node).(type) {
	case *ast.IdentifierNode:
		if base.Value == "row" || base.Value == "old" && !c.condition.bare {
			c.condition.usesRow = true
			c.condition.usesOld = c.condition.usesOld || base.Value == "old"
			c.column(c.condition.table, property.Value)
			return
		}
	case *ast.CallNode:
		if i, ok := parentCall(c.condition, base); ok {
			c.column(c.condition.table.parents[i].table, property.Value)
			return
		}
		if calleeName(base) == "parent" {
			return // Reported by call.
		}
	}
	c.report("only row, old and parent(…) have columns")
}

func (c *conditionCheck) column(t *table, name string) {
	c.rows++
	if _, ok := t.columns[name]; !ok {
		c.report("unknown column %q of %s%s", name, t.name(), suggest(name, t.columnNames()))
	}
}

func (c *conditionCheck) call(n *ast.CallNode) {
	name := calleeName(n)
	switch {
	case c.condition.bare || (name != "changed" && name != "parent"):
		c.report("unknown function %s", name)
	case name == "parent":
		c.rows++
		i, ok := parentCall(c.condition, n)
		if !ok {
			c.report("parent(\"…\") takes one of the columns under parents of %s", c.condition.table.name())
		} else if !slices.Contains(c.condition.parents, i) {
			c.condition.parents = append(c.condition.parents, i)
		}
	default:
		c.condition.usesChanged = true
		if len(n.Arguments) == 0 {
			c.report("changed(\"…\") takes names of columns")
		}
		for _, a := range n.Arguments {
			if s, ok := a.(*ast.StringNode); ok {
				c.column(c.condition.table, s.Value)
			} else {
				c.report("changed(\"…\") takes names of columns")
			}
		}
	}
}

func calleeName(n *ast.CallNode) string {
	if id, ok := n.Callee.(*ast.IdentifierNode); ok {
		return id.Value
	}
	return "that"
}

// parentCall gives the parent that parent("column") means.
func parentCall(c *condition, n *ast.CallNode) (int, bool) {
	if calleeName(n) != "parent" || len(n.Arguments) != 1 {
		return 0, false
	}
	name, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		return 0, false
	}
	column, ok := c.table.columns[name.Value]
	if !ok {
		return 0, false
	}
	return c.table.parentOf(column)
}

func unchain(n ast.Node) ast.Node {
	if chain, ok := n.(*ast.ChainNode); ok {
		return chain.Node
	}
	return n
}
