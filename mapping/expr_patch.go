package mapping

import "github.com/expr-lang/expr/ast"

// envName is the name of the environment in an expression. The environment is the scope.
const envName = "$env"

func call(function string, arguments ...int) *ast.CallNode {
	n := &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}}
	n.Arguments = append(n.Arguments, &ast.IdentifierNode{Value: envName})
	for _, a := range arguments {
		n.Arguments = append(n.Arguments, &ast.IntegerNode{Value: a})
	}
	return n
}

// columnPatch replaces row.x, old.x, parent("y").x and changed(…) by calls with column indexes.
type columnPatch struct{ condition *condition }

// Visit implements ast.Visitor.
func (p *columnPatch) Visit(node *ast.Node) {
	t := p.condition.table
	switch n := (*node).(type) {
	case *ast.MemberNode:
		property, ok := n.Property.(*ast.StringNode)
		if !ok {
			return
		}
		switch base := unchain(n.Node).(type) {
		case *ast.IdentifierNode:
			which := whichRow
			if base.Value == "old" {
				which = whichOld
			}
			ast.Patch(node, call(valueFunction, which, t.columns[property.Value]))
		case *ast.CallNode:
			if i, ok := parentCall(p.condition, base); ok {
				ast.Patch(node, call(valueFunction, i, t.parents[i].table.columns[property.Value]))
			}
		}
	case *ast.CallNode:
		if calleeName(n) != "changed" {
			return
		}
		var columns []int
		for _, a := range n.Arguments {
			if s, ok := a.(*ast.StringNode); ok {
				columns = append(columns, t.columns[s.Value])
			}
		}
		ast.Patch(node, call(changedFunction, columns...))
	}
}

// rowPatch replaces old and parent("y") as a whole, which can only be compared with nil, and the column names of a bare condition.
type rowPatch struct{ condition *condition }

// Visit implements ast.Visitor.
func (p *rowPatch) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if column, ok := p.condition.table.columns[n.Value]; ok && p.condition.bare && n.Value != envName {
			ast.Patch(node, call(valueFunction, whichRow, column))
		} else if n.Value == "old" {
			ast.Patch(node, call(existsFunction, whichOld))
		}
	case *ast.CallNode:
		if i, ok := parentCall(p.condition, n); ok {
			ast.Patch(node, call(existsFunction, i))
		}
	}
}
