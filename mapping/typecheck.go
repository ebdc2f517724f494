package mapping

import (
	"maps"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/types"
)

// typeCheck compiles the condition once more, now with the types that the columns really have, and returns what expr says of
// it. The result is thrown away: evaluation works on untyped values, which may be null.
func (c *condition) typeCheck(look lookup) error {
	own := look.bound(c.table).types()
	env := own
	if c.bare && c.usesRow { // for names that cannot be written without quotes: row["a.b"]
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

// parentPatch turns parent("x") into a name that the typed environment knows.
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

func parentName(t *table, i int) string {
	return "parent " + t.cdc.Columns[t.parents[i].column].Name // No expression can spell the blank.
}

// types describes the row to expr's checker.
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
		return types.Any // The database lacks the column: it is always null.
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
