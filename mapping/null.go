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
	var guard ast.Node
	for _, side := range []ast.Node{n.Left, n.Right} {
		if equality := n.Operator == "==" || n.Operator == "!="; !equality || !isValue(side) {
			guard = both(guard, known(side))
		}
	}
	if guard != nil {
		ast.Patch(node, both(guard, n))
	}
}

// known tests that no column in an operand is null, of those that its value depends on; nil if there are none. Columns in a
// comparison of their own are guarded there.
func known(n ast.Node) ast.Node {
	switch n := n.(type) {
	case *ast.CallNode:
		if isValue(n) {
			again := *n
			return &ast.BinaryNode{Operator: "!=", Left: &again, Right: &ast.NilNode{}}
		}
	case *ast.UnaryNode:
		return known(n.Node)
	case *ast.BinaryNode:
		switch {
		case isLogical(n.Operator) || isComparison(n.Operator):
		case n.Operator == "??" && isValue(n.Left):
			if instead := known(n.Right); instead != nil {
				return &ast.BinaryNode{Operator: "or", Left: known(n.Left), Right: instead}
			}
		default:
			return both(known(n.Left), known(n.Right))
		}
	case *ast.BuiltinNode:
		return allKnown(n.Arguments)
	case *ast.ArrayNode:
		return allKnown(n.Nodes)
	case *ast.ConditionalNode:
		yes, no := known(n.Exp1), known(n.Exp2)
		if yes == nil && no == nil {
			return nil
		}
		return &ast.ConditionalNode{Cond: n.Cond, Exp1: orTrue(yes), Exp2: orTrue(no)}
	}
	return nil
}

func allKnown(nodes []ast.Node) (all ast.Node) {
	for _, n := range nodes {
		all = both(all, known(n))
	}
	return all
}

// both joins two tests, either of which may be nil.
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
