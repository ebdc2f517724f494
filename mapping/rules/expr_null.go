package rules

import "github.com/expr-lang/expr/ast"

// nullPatch defines the meaning of null in a condition: every comparison with null except == and != is false, and a null
// used as a boolean is false. expr alone would fail at run time.
type nullPatch struct{}

// Visit implements ast.Visitor.
func (nullPatch) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			n.Node = isTrue(n.Node)
		}
	case *ast.ConditionalNode:
		n.Cond = isTrue(n.Cond)
	case *ast.BinaryNode:
		switch {
		case isLogical(n.Operator):
			n.Left, n.Right = isTrue(n.Left), isTrue(n.Right)
		case isComparison(n.Operator):
			guardNulls(node, n)
		}
	}
}

func isLogical(operator string) bool {
	return operator == "and" || operator == "&&" || operator == "or" || operator == "||"
}

func isComparison(operator string) bool {
	switch operator {
	case "==", "!=", "<", "<=", ">", ">=", "in", "contains", "startsWith", "endsWith", "matches":
		return true
	}
	return false
}

// isTrue makes a column usable as a boolean.
func isTrue(n ast.Node) ast.Node {
	if !isColumnValue(n) {
		return n
	}
	return &ast.BinaryNode{Operator: "==", Left: n, Right: &ast.BoolNode{Value: true}}
}

func isColumnValue(n ast.Node) bool {
	c, ok := n.(*ast.CallNode)
	return ok && CalleeName(c) == valueFunction
}

// guardNulls rewrites "a < b" as "a != nil and b != nil and a < b", for the columns in a and b.
func guardNulls(node *ast.Node, n *ast.BinaryNode) {
	var guard ast.Node
	for _, side := range []ast.Node{n.Left, n.Right} {
		if equality := n.Operator == "==" || n.Operator == "!="; !equality || !isColumnValue(side) {
			guard = both(guard, notNull(side))
		}
	}
	if guard != nil {
		ast.Patch(node, both(guard, n))
	}
}

// notNull returns a test that no column on which the operand's value depends is null, or nil if it depends on none. Columns
// inside a nested comparison are guarded by that comparison.
func notNull(n ast.Node) ast.Node {
	switch n := n.(type) {
	case *ast.CallNode:
		if isColumnValue(n) {
			value := *n
			return &ast.BinaryNode{Operator: "!=", Left: &value, Right: &ast.NilNode{}}
		}
	case *ast.UnaryNode:
		return notNull(n.Node)
	case *ast.BinaryNode:
		switch {
		case isLogical(n.Operator) || isComparison(n.Operator):
		case n.Operator == "??" && isColumnValue(n.Left):
			if fallback := notNull(n.Right); fallback != nil {
				return &ast.BinaryNode{Operator: "or", Left: notNull(n.Left), Right: fallback}
			}
		default:
			return both(notNull(n.Left), notNull(n.Right))
		}
	case *ast.BuiltinNode:
		return allNotNull(n.Arguments)
	case *ast.ArrayNode:
		return allNotNull(n.Nodes)
	case *ast.ConditionalNode:
		yes, no := notNull(n.Exp1), notNull(n.Exp2)
		if yes == nil && no == nil {
			return nil
		}
		return &ast.ConditionalNode{Cond: n.Cond, Exp1: orTrue(yes), Exp2: orTrue(no)}
	}
	return nil
}

func allNotNull(nodes []ast.Node) (all ast.Node) {
	for _, n := range nodes {
		all = both(all, notNull(n))
	}
	return all
}

// both combines two tests with and. Either may be nil.
func both(a, b ast.Node) ast.Node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return &ast.BinaryNode{Operator: "and", Left: a, Right: b}
}

func orTrue(n ast.Node) ast.Node {
	if n == nil {
		return &ast.BoolNode{Value: true}
	}
	return n
}
