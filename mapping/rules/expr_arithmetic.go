package rules

import (
	"errors"
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
)

// Depending on the values of a row, an operator of expr can fail, overflow silently, or use unbounded memory. Conditions
// therefore call the functions below instead of the operators. Their errors make a condition false; see Evaluator.Holds.
const (
	arithmeticFunction = "__arithmetic"
	matchesFunction    = "__matches"

	// maxConcatenation limits the result of +, and maxMatched the text that matches searches, in bytes. Longer texts could
	// take a large pattern many seconds.
	maxConcatenation = 1 << 20
	maxMatched       = 64 << 10
	// MaxRange limits the number of elements of a range such as 1..5.
	MaxRange = 10_000
)

var (
	errDivisionByZero = errors.New("division by zero")
	errOverflow       = errors.New("the number is out of range")
)

// arithmeticPatch replaces operators by calls. It must run after nullPatch, which looks for the operators.
type arithmeticPatch struct{}

// Visit implements ast.Visitor.
func (arithmeticPatch) Visit(node *ast.Node) {
	function := func(name string, arguments ...ast.Node) {
		ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments})
	}
	switch n := (*node).(type) {
	case *ast.UnaryNode:
		if n.Operator == "-" {
			function(arithmeticFunction, &ast.StringNode{Value: "-"}, &ast.IntegerNode{Value: 0}, n.Node)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "+", "-", "*", "/", "%", "**", "^":
			function(arithmeticFunction, &ast.StringNode{Value: n.Operator}, n.Left, n.Right)
		case "matches":
			function(matchesFunction, n.Left, n.Right)
		}
	}
}

func arithmetic(params ...any) (any, error) {
	operator, _ := params[0].(string)
	a, b := params[1], params[2]
	if s, ok := a.(string); ok && operator == "+" {
		t, ok := b.(string)
		if !ok {
			return nil, fmt.Errorf("cannot add %T to text", b)
		}
		if len(s)+len(t) > maxConcatenation {
			return nil, fmt.Errorf("the text would be longer than %d bytes", maxConcatenation)
		}
		return s + t, nil
	}
	i, iInt := a.(int)
	j, jInt := b.(int)
	if iInt && jInt {
		switch operator {
		case "+", "-", "*", "%":
			return integerArithmetic(operator, i, j)
		}
	}
	x, xNumber := asFloat(a)
	y, yNumber := asFloat(b)
	if !xNumber || !yNumber || operator == "%" {
		return nil, fmt.Errorf("cannot compute %T %s %T", a, operator, b)
	}
	return floatArithmetic(operator, x, y)
}

func integerArithmetic(operator string, i, j int) (any, error) {
	switch operator {
	case "+":
		if sum := i + j; (sum > i) == (j > 0) {
			return sum, nil
		}
	case "-":
		if difference := i - j; (difference < i) == (j > 0) {
			return difference, nil
		}
	case "*":
		product := i * j
		if i == 0 || product/i == j && !(i == -1 && j == math.MinInt) {
			return product, nil
		}
	default:
		if j == 0 {
			return nil, errDivisionByZero
		}
		return i % j, nil
	}
	return nil, errOverflow
}

func floatArithmetic(operator string, x, y float64) (any, error) {
	var z float64
	switch operator {
	case "+":
		z = x + y
	case "-":
		z = x - y
	case "*":
		z = x * y
	case "/":
		if y == 0 {
			return nil, errDivisionByZero
		}
		z = x / y
	default:
		z = math.Pow(x, y)
	}
	// A number in the database may be infinite, but an infinite result of finite numbers is an overflow.
	if isFinite(x) && isFinite(y) && !isFinite(z) {
		return nil, errOverflow
	}
	return z, nil
}

func isFinite(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// matches implements the operator matches. package language has compiled the patterns, which are constants.
func (c *Condition) matches(params ...any) (any, error) {
	text, isText := params[0].(string)
	pattern, _ := params[1].(string)
	switch {
	case !isText:
		return nil, fmt.Errorf("cannot match a pattern with %T", params[0])
	case len(text) > maxMatched:
		return nil, fmt.Errorf("the text is longer than %d bytes, the limit of matches", maxMatched)
	}
	return c.Patterns[pattern].MatchString(text), nil
}
