package language

import (
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"

	"github.com/iam-relay/iam-relay/mapping/rules"
)

// Condition reads and compiles an expression. It reports a problem and returns nil if the expression is not valid.
func (l *loader) condition(w word, t *rules.Table, bare bool) *rules.Condition {
	if !w.given() {
		return nil
	}
	if len(w.text) > rules.MaxConditionLength {
		l.problems.Add(w.at, "the condition has %d bytes; the limit is %d", len(w.text), rules.MaxConditionLength)
		return nil
	}
	c := &rules.Condition{Source: w.text, At: w.at, Table: t, Bare: bare}
	config := conf.CreateNew()
	config.MaxNodes = rules.MaxConditionNodes
	tree, err := parser.ParseWithConfig(w.text, config)
	if err != nil {
		l.problems.Add(w.at, "condition %q: %s", w.text, rules.FirstLine(err))
		return nil
	}
	check := conditionCheck{loader: l, condition: c, handled: map[ast.Node]bool{}}
	if !check.run(&tree.Node) {
		return nil
	}
	if c.Program, err = rules.CompileProgram(c); err != nil {
		l.problems.Add(w.at, "condition %q: %s", w.text, rules.FirstLine(err))
		return nil
	}
	return c
}

// CompileCondition reads and compiles one expression of a rule on the table or, if bare, of the table itself.
func CompileCondition(source string, at rules.Position, t *rules.Table, bare bool) (*rules.Condition, error) {
	var p rules.Problems
	l := &loader{problems: &p, decoder: decoder{&p}}
	c := l.condition(word{source, at}, t, bare)
	return c, p.Err()
}
