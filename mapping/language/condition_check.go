package language

import (
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
)

// conditionCheck walks an expression before it is compiled. It reports mistakes in the terms of the mapping language, and
// notes what the condition uses.
type conditionCheck struct {
	loader    *loader
	condition *rules.Condition
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
	c.loader.problems.Add(c.condition.At, "condition %q: "+format, append([]any{c.condition.Source}, args...)...)
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
		if !slices.Contains(rules.ConditionFunctions, n.Name) {
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
		if c.condition.Patterns == nil {
			c.condition.Patterns = map[string]*regexp.Regexp{}
		}
		c.condition.Patterns[literal.Value] = pattern
	case "/", "%":
		if isZero(n.Right) {
			c.report("division by zero")
		}
	case "..":
		from, fromOK := n.Left.(*ast.IntegerNode)
		to, toOK := n.Right.(*ast.IntegerNode)
		if !fromOK || !toOK || to.Value < from.Value || to.Value-from.Value >= rules.MaxRange {
			c.report("a range needs two whole numbers and at most %d elements, for example 1..5", rules.MaxRange)
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
	if c.condition.Bare && n.Value != rules.EnvName {
		c.column(c.condition.Table, n.Value)
		return
	}
	switch n.Value {
	case "old":
		c.condition.UsesOld = true
		c.rowReads++
	case "row":
		c.report("row is the whole row; name one of its columns: row.NAME")
	default:
		c.report("unknown name %q%s", n.Value, spelling.Suggest(n.Value, []string{"row." + n.Value, "old." + n.Value}))
	}
}

func (c *conditionCheck) member(n *ast.MemberNode) {
	property, ok := n.Property.(*ast.StringNode)
	if !ok {
		c.report("write a column as row.NAME or row[\"NAME\"]")
		return
	}
	switch base := rules.Unchain(n.Node).(type) {
	case *ast.IdentifierNode:
		if base.Value == "row" || base.Value == "old" && !c.condition.Bare {
			c.condition.UsesRow = true
			c.condition.UsesOld = c.condition.UsesOld || base.Value == "old"
			c.column(c.condition.Table, property.Value)
			return
		}
	case *ast.CallNode:
		if i, ok := rules.ParentCall(c.condition, base); ok {
			c.column(c.condition.Table.Parents[i].Table, property.Value)
			return
		}
		if rules.CalleeName(base) == "parent" {
			return // call reports it.
		}
	}
	if c.condition.Bare {
		c.report("write the name of a column alone, or row[\"NAME\"]")
		return
	}
	c.report("only row, old and parent(\"…\") have columns")
}

func (c *conditionCheck) column(t *rules.Table, name string) {
	c.rowReads++
	i, ok := t.Columns[name]
	if !ok {
		c.report("unknown column %q of %s%s", name, t.Name(), spelling.Suggest(name, t.ColumnNames()))
	}
	if ok && t == c.condition.Table && !slices.Contains(c.condition.Columns, i) {
		c.condition.Columns = append(c.condition.Columns, i)
	}
}

func (c *conditionCheck) call(n *ast.CallNode) {
	name := rules.CalleeName(n)
	switch {
	case c.condition.Bare || (name != "changed" && name != "parent"):
		c.unknownFunction(name)
	case name == "parent":
		c.rowReads++
		i, ok := rules.ParentCall(c.condition, n)
		if !ok {
			c.report("parent(\"…\") takes a column that is listed under parents of %s", c.condition.Table.Name())
		} else if !slices.Contains(c.condition.Parents, i) {
			c.condition.Parents = append(c.condition.Parents, i)
		}
	default:
		c.condition.UsesChanged = true
		if len(n.Arguments) == 0 {
			c.report("changed(\"…\") needs the name of a column")
		}
		for _, a := range n.Arguments {
			if s, ok := a.(*ast.StringNode); ok {
				c.column(c.condition.Table, s.Value)
			} else {
				c.report("changed(\"…\") takes column names in quotes")
			}
		}
	}
}

func (c *conditionCheck) unknownFunction(name string) {
	available := rules.ConditionFunctions
	if !c.condition.Bare {
		available = slices.Concat([]string{"changed", "parent"}, available)
	}
	c.report("unknown function %s; available: %s", name, strings.Join(available, ", "))
}
