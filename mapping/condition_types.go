package mapping

import (
	"maps"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"
)

// typeCheck compiles the condition with the types of the columns in the database and returns the compiler's error. It
// discards the program: evaluation uses untyped values, because any of them may be null.
func (c *condition) typeCheck(look lookup) error {
	own := look.bound(c.table).types()
	env := own
	if c.bare && c.usesRow { // row["a.b"], for names that are not identifiers
		env = maps.Clone(own)
		env["row"] = own
	}
	if !c.bare {
		env = types.Map{"row": own, "old": own}
		for _, i := range c.parents {
			env[parentName(c.table, i)] = look.bound(c.table.parents[i].table).types()
		}
	}
	_, err := expr.Compile(c.source, append(conditionLimits(),
		expr.Env(env),
		expr.Function("changed", func(...any) (any, error) { return false, nil }, new(func(...string) bool)),
		expr.Patch(&parentPatch{condition: c}),
	)...)
	return err
}

// parentPatch replaces parent("x") by a name of the typed environment.
type parentPatch struct{ condition *condition }

// Visit implements ast.Visitor.
func (p *parentPatch) Visit(node *ast.Node) {
	n, ok := (*node).(*ast.CallNode)
	if !ok {
		return
	}
	if i, ok := parentCall(p.condition, n); ok {
		ast.Patch(node, &ast.IdentifierNode{Value: parentName(p.condition.table, i)})
	}
}

// parentName contains a space, so that no expression can use it.
func parentName(t *table, i int) string {
	return "parent " + t.cdc.Columns[t.parents[i].column].Name
}

// types describes the row to the type checker of expr.
func (b *boundTable) types() types.Map {
	out := types.Map{}
	for name, i := range b.table.columns {
		out[name] = b.typeOf(i)
	}
	return out
}

func (b *boundTable) typeOf(column int) types.Type {
	f := b.formats[column]
	switch {
	case b.oids[column] == 0:
		return types.Any // The database does not have the column: it is always null.
	case f.array:
		return types.String
	}
	switch f.kind {
	case boolKind:
		return types.Bool
	case intKind:
		return types.Int
	case numberKind:
		return types.Float64
	}
	return types.String
}
