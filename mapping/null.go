package mapping

import "github.com/expr-lang/expr/ast"

// nullPatch gives null its meaning: a comparison other than == and != with a null is false, and a null is false as a truth
// value. Without it expr would fail at run time, and a null in one row would stop the stream.
type nullPatch struct{}

// Visit implements ast.Visitor.
func (nullPatch) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			n.Node = truth(n.Node)
		}
	case *ast.ConditionalNode:
		n.Cond = truth(n.Cond)
	case *ast.BinaryNode:
		switch {
		case isLogical(n.Operator):
			n.Left, n.Right = truth(n.Left), truth(n.Right)
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

// truth makes a bare column usable as a truth value.
func truth(n ast.Node) ast.Node {
	if !isValue(n) {
		return n
	}
	return &ast.BinaryNode{Operator: "==", Left: n, Right: &ast.BoolNode{Value: true}}
}

func isValue(n ast.Node) bool {
	c, ok := n.(*ast.CallNode)
	return ok && calleeName(c) == valueFunction
}

// guardNulls turns "a < b" into "a != nil and b != nil and a < b", for the columns in a and b.
func guardNulls(node *ast.Node, n *ast.BinaryNode) {
	var nullable []ast.Node
	for _, side := range []ast.Node{n.Left, n.Right} {
		if equality := n.Operator == "==" || n.Operator == "!="; !equality || !isValue(side) {
			nullable = values(side, nullable)
		}
	}
	var guarded ast.Node = n
	for _, v := range nullable {
		guarded = &ast.BinaryNode{
			Operator: "and",
			Left:     &ast.BinaryNode{Operator: "!=", Left: v, Right: &ast.NilNode{}},
			Right:    guarded,
		}
	}
	if guarded != ast.Node(n) {
		ast.Patch(node, guarded)
	}
}

// values collects copies of the column values in an operand, except those in a comparison of their own.
func values(n ast.Node, out []ast.Node) []ast.Node {
	switch n := n.(type) {
	case *ast.CallNode:
		if isValue(n) {
			again := *n
			out = append(out, &again)
		}
	case *ast.UnaryNode:
		out = values(n.Node, out)
	case *ast.BinaryNode:
		if !isLogical(n.Operator) && !isComparison(n.Operator) {
			out = values(n.Right, values(n.Left, out))
		}
	case *ast.BuiltinNode:
		for _, a := range n.Arguments {
			out = values(a, out)
		}
	case *ast.ArrayNode:
		for _, e := range n.Nodes {
			out = values(e, out)
		}
	case *ast.ConditionalNode:
		out = values(n.Exp2, values(n.Exp1, out))
	}
	return out
}
