package tomlpos

import (
	"errors"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// SyntaxError reports a document that is not valid TOML.
type SyntaxError struct {
	At     Position
	Reason string
}

func (e *SyntaxError) Error() string { return e.At.String() + ": " + e.Text() }

// Text is the message without the position.
func (e *SyntaxError) Text() string { return "not valid TOML: " + e.Reason }

// Parse reads a document. It returns the root table and the same content as go-toml decodes it. An error is a *[SyntaxError].
func Parse(file string, source []byte) (root *Node, values map[string]any, err error) {
	// The decoder checks the document, which the parser below does only in part.
	values = map[string]any{}
	if err := toml.Unmarshal(source, &values); err != nil {
		at := Position{File: file}
		if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
			at.Line, _ = decode.Position()
		}
		return nil, nil, &SyntaxError{At: at, Reason: reason(err)}
	}
	b := treeBuilder{file: file, root: &Node{At: Position{File: file}, Kind: Table}}
	b.parser.Reset(source)
	current := b.root
	for b.parser.NextExpression() {
		switch e := b.parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			current = b.open(e)
		case unstable.KeyValue:
			b.assign(current, e)
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, nil, &SyntaxError{At: Position{File: file}, Reason: reason(err)}
	}
	return b.root, values, nil
}

func reason(err error) string { return strings.TrimPrefix(err.Error(), "toml: ") }

type treeBuilder struct {
	file   string
	parser unstable.Parser
	root   *Node
}

func (b *treeBuilder) position(r unstable.Range) Position {
	return Position{File: b.file, Line: b.parser.Shape(r).Start.Line}
}

// open returns the table of a [header], or a new element for a [[header]].
func (b *treeBuilder) open(header *unstable.Node) *Node {
	current := b.root
	for it := header.Key(); it.Next(); {
		key := it.Node()
		at := b.position(key.Raw)
		name := string(key.Data)
		if header.Kind == unstable.ArrayTable && it.IsLast() {
			list := current.Get(name)
			if list == nil {
				list = &Node{At: at, Kind: List}
				current.Set(name, at, list)
			}
			element := &Node{At: at, Kind: Table}
			list.Items = append(list.Items, element)
			return element
		}
		current = descend(current, name, at)
	}
	return current
}

// descend returns the table under a key, which it creates if necessary; of an array of tables, the last one.
func descend(current *Node, key string, at Position) *Node {
	next := current.Get(key)
	if next == nil {
		next = &Node{At: at, Kind: Table}
		current.Set(key, at, next)
	}
	if next.Kind == List && len(next.Items) > 0 {
		return next.Items[len(next.Items)-1]
	}
	return next
}

func (b *treeBuilder) assign(current *Node, keyValue *unstable.Node) {
	for it := keyValue.Key(); it.Next(); {
		key := it.Node()
		at := b.position(key.Raw)
		if it.IsLast() {
			value := b.value(keyValue.Value(), at)
			current.Set(string(key.Data), at, value)
			return
		}
		current = descend(current, string(key.Data), at)
	}
}

// value converts a value. The parser gives some of them no range of their own; they take the position of their key.
func (b *treeBuilder) value(v *unstable.Node, at Position) *Node {
	n := &Node{At: at}
	if v.Raw.Length > 0 {
		n.At = b.position(v.Raw)
	}
	switch v.Kind {
	case unstable.InlineTable:
		n.Kind = Table
		for it := v.Children(); it.Next(); {
			b.assign(n, it.Node())
		}
	case unstable.Array:
		n.Kind = List
		for it := v.Children(); it.Next(); {
			if item := it.Node(); item.Kind != unstable.Comment {
				n.Items = append(n.Items, b.value(item, n.At))
			}
		}
	case unstable.String:
		n.Scalar = string(v.Data)
	case unstable.Bool:
		n.Scalar = len(v.Data) == len("true")
	case unstable.Integer:
		n.Scalar = integer(v.Data)
	default:
		n.Scalar = Raw(v.Data)
	}
	return n
}

// integer leaves the decoding to go-toml, which knows underscores and the other bases.
func integer(text []byte) any {
	var holder struct{ V int64 }
	if err := toml.Unmarshal(slices.Concat([]byte("V = "), text), &holder); err != nil {
		return Raw(text)
	}
	return holder.V
}
