package rules

import (
	"maps"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"

	"github.com/iam-relay/iam-relay/mapping/value"
)

// TypeCheck compiles the condition with the types of the columns in the database and returns the compiler's error. It
// discards the program: evaluation uses untyped values, because any of them may be null.
func (c *Condition) TypeCheck(look *Binding) error {
	own := look.bound(c.Table).types()
	env := own
	if c.Bare && c.UsesRow { // row["a.b"], for names that are not identifiers
		env = maps.Clone(own)
		env["row"] = own
	}
	if !c.Bare {
		env = types.Map{"row": own, "old": own}
		for _, i := range c.Parents {
			env[parentName(c.Table, i)] = look.bound(c.Table.Parents[i].Table).types()
		}
	}
	_, err := expr.Compile(c.Source, append(conditionLimits(),
		expr.Env(env),
		expr.Function("changed", func(...any) (any, error) { return false, nil }, new(func(...string) bool)),
		expr.Patch(&parentPatch{condition: c}),
	)...)
	return err
}

// parentPatch replaces parent("x") by a name of the typed environment.
type parentPatch struct{ condition *Condition }

// Visit implements ast.Visitor.
func (p *parentPatch) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.CallNode)
	if !ok {
		return
	}
	if i, ok := ParentCall(p.condition, n); ok {
		ast.Patch(node, &ast.IdentifierNode{Value: parentName(p.condition.Table, i)})
	}
}

// parentName contains a space, so that no expression can use it.
func parentName(t *Table, i int) string {
	return "parent " + t.CDC.Columns[t.Parents[i].Column].Name
}

// types describes the row to the type checker of expr.
func (b *BoundTable) types() types.Map {
	out := types.Map{}
	for name, i := range b.Table.Columns {
		out[name] = b.typeOf(i)
	}
	return out
}

func (b *BoundTable) typeOf(column int) types.Type {
	f := b.Formats[column]
	switch {
	case b.OIDs[column] == 0:
		return types.Any // The database does not have the column: it is always null.
	case f.Array:
		return types.String
	}
	switch f.Kind {
	case value.Bool:
		return types.Bool
	case value.Int:
		return types.Int
	case value.Number:
		return types.Float64
	}
	return types.String
}
