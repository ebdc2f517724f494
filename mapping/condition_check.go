package mapping

import (
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// conditionCheck walks an expression before it is compiled. It reports mistakes in the terms of the mapping language, and
// notes what the condition uses.
type conditionCheck struct {
	loader    *loader
	condition *condition
	// handled holds nodes that are checked with their parent node: the row of row.x, the name of a called function.
	handled  map[ast.Node]bool
	rowReads int
	bad      bool
}

func (c *conditionCheck) run(root *ast.Node) bool {
	ast.Walk(root, markHandled(c.handled))
	ast.Walk(root, c)
	if !c.bad && c.rowReads == 0 {
		c.report("it reads no column, so its result never changes")
	}
	return !c.bad
}

type markHandled map[ast.Node]bool

func (m markHandled) Visit(node *ast.Node) {
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
			c.unknownFunction(n.Name)
		}
	case *ast.BinaryNode:
		c.binary(n)
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode, *ast.ConstantNode,
		*ast.UnaryNode, *ast.ChainNode, *ast.ConditionalNode, *ast.ArrayNode:
	default:
		c.report("it may only compare columns and combine comparisons with and, or, not")
	}
}

// binary reports operations that can never be computed, and compiles patterns.
func (c *conditionCheck) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		literal, ok := n.Right.(*ast.StringNode)
		if !ok {
			c.report("the pattern of matches must be a string literal")
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
			c.report("a range needs two whole numbers and at most %d elements, for example 1..5", maxRange)
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
	if c.handled[n] {
		return
	}
	if c.condition.bare && n.Value != envName {
		c.column(c.condition.table, n.Value)
		return
	}
	switch n.Value {
	case "old":
		c.condition.usesOld = true
		c.rowReads++
	case "row":
		c.report("row is the whole row; name one of its columns: row.NAME")
	default:
		c.report("unknown name %q%s", n.Value, suggest(n.Value, []string{"row." + n.Value, "old." + n.Value}))
	}
}

func (c *conditionCheck) member(n *ast.MemberNode) {
	property, ok := n.Property.(*ast.StringNode)
	if !ok {
		c.report("write a column as row.NAME or row[\"NAME\"]")
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
			return // call reports it.
		}
	}
	if c.condition.bare {
		c.report("write the name of a column alone, or row[\"NAME\"]")
		return
	}
	c.report("only row, old and parent(\"…\") have columns")
}

func (c *conditionCheck) column(t *table, name string) {
	c.rowReads++
	if _, ok := t.columns[name]; !ok {
		c.report("unknown column %q of %s%s", name, t.name(), suggest(name, t.columnNames()))
	}
}

func (c *conditionCheck) call(n *ast.CallNode) {
	name := calleeName(n)
	switch {
	case c.condition.bare || (name != "changed" && name != "parent"):
		c.unknownFunction(name)
	case name == "parent":
		c.rowReads++
		i, ok := parentCall(c.condition, n)
		if !ok {
			c.report("parent(\"…\") takes a column that is listed under parents of %s", c.condition.table.name())
		} else if !slices.Contains(c.condition.parents, i) {
			c.condition.parents = append(c.condition.parents, i)
		}
	default:
		c.condition.usesChanged = true
		if len(n.Arguments) == 0 {
			c.report("changed(\"…\") needs the name of a column")
		}
		for _, a := range n.Arguments {
			if s, ok := a.(*ast.StringNode); ok {
				c.column(c.condition.table, s.Value)
			} else {
				c.report("changed(\"…\") takes column names in quotes")
			}
		}
	}
}

func (c *conditionCheck) unknownFunction(name string) {
	available := conditionFunctions
	if !c.condition.bare {
		available = slices.Concat([]string{"changed", "parent"}, available)
	}
	c.report("unknown function %s; available: %s", name, strings.Join(available, ", "))
}

func calleeName(n *ast.CallNode) string {
	if id, ok := n.Callee.(*ast.IdentifierNode); ok {
		return id.Value
	}
	return "(expression)"
}

// parentCall returns the index of the parent that parent("column") refers to.
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
