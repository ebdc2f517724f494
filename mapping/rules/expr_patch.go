package rules

import "github.com/expr-lang/expr/ast"

// EnvName is the name of the environment in an expression. The environment is the scope.
const EnvName = "$env"

func call(function string, arguments ...int) *ast.CallNode {
	n := &ast.CallNode{Callee: &ast.IdentifierNode{Value: function}}
	n.Arguments = append(n.Arguments, &ast.IdentifierNode{Value: EnvName})
	for _, a := range arguments {
		n.Arguments = append(n.Arguments, &ast.IntegerNode{Value: a})
	}
	return n
}

// columnPatch replaces row.x, old.x, parent("y").x and changed(…) by calls with column indexes.
type columnPatch struct{ condition *Condition }

// Visit implements ast.Visitor.
func (p *columnPatch) Visit(node *ast.Node) {
	t := p.condition.Table
	switch n := (*node).(type) {
	case *ast.MemberNode:
		property, ok := n.Property.(*ast.StringNode)
		if !ok {
			return
		}
		switch base := Unchain(n.Node).(type) {
		case *ast.IdentifierNode:
			which := whichRow
			if base.Value == "old" {
				which = whichOld
			}
			ast.Patch(node, call(valueFunction, which, t.Columns[property.Value]))
		case *ast.CallNode:
			if i, ok := ParentCall(p.condition, base); ok {
				ast.Patch(node, call(valueFunction, i, t.Parents[i].Table.Columns[property.Value]))
			}
		}
	case *ast.CallNode:
		if CalleeName(n) != "changed" {
			return
		}
		var columns []int
		for _, a := range n.Arguments {
			if s, ok := a.(*ast.StringNode); ok {
				columns = append(columns, t.Columns[s.Value])
			}
		}
		ast.Patch(node, call(changedFunction, columns...))
	}
}

// rowPatch replaces old and parent("y") as a whole, which can only be compared with nil, and the column names of a bare condition.
type rowPatch struct{ condition *Condition }

// Visit implements ast.Visitor.
func (p *rowPatch) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		if column, ok := p.condition.Table.Columns[n.Value]; ok && p.condition.Bare && n.Value != EnvName {
			ast.Patch(node, call(valueFunction, whichRow, column))
		} else if n.Value == "old" {
			ast.Patch(node, call(existsFunction, whichOld))
		}
	case *ast.CallNode:
		if i, ok := ParentCall(p.condition, n); ok {
			ast.Patch(node, call(existsFunction, i))
		}
	}
}
