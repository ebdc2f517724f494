package rules

import "github.com/expr-lang/expr/ast"

// CalleeName returns the name of the called function.
func CalleeName(n *ast.CallNode) string {
	if id, ok := n.Callee.(*ast.IdentifierNode); ok {
		return id.Value
	}
	return "(expression)"
}

// ParentCall returns the index of the parent that parent("column") refers to.
func ParentCall(c *Condition, n *ast.CallNode) (int, bool) {
	if CalleeName(n) != "parent" || len(n.Arguments) != 1 {
		return 0, false
	}
	name, ok := n.Arguments[0].(*ast.StringNode)
	if !ok {
		return 0, false
	}
	column, ok := c.Table.Columns[name.Value]
	if !ok {
		return 0, false
	}
	return c.Table.ParentOf(column)
}

// Unchain returns the node inside an optional chain such as row?.x.
func Unchain(n ast.Node) ast.Node {
	if chain, ok := n.(*ast.ChainNode); ok {
		return chain.Node
	}
	return n
}
