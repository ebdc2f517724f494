package mapping

import (
	"errors"
	"slices"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// node is a TOML value that remembers where it was written, which go-toml's decoder forgets.
type node struct {
	at      position
	kind    nodeKind
	entries []entry // of a table, in the order of the file
	items   []*node // of a list
	scalar  any     // a string, bool or int64, or the text of anything else as a rawScalar
}

type entry struct {
	key   string
	at    position
	value *node
}

type nodeKind uint8

const (
	scalarNode nodeKind = iota
	tableNode
	listNode
)

// rawScalar is the text of a float, date or time, none of which a mapping uses except as a default value.
type rawScalar string

func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	for i := range n.entries {
		if n.entries[i].key == key {
			return n.entries[i].value
		}
	}
	return nil
}

func (n *node) set(key string, at position, value *node) {
	for i := range n.entries {
		if n.entries[i].key == key {
			n.entries[i] = entry{key: key, at: at, value: value}
			return
		}
	}
	n.entries = append(n.entries, entry{key: key, at: at, value: value})
}

// parseTOML reads a document. go-toml's decoder judges its validity, and its parser then gives the positions.
func parseTOML(file string, source []byte) (*node, error) {
	var discard map[string]any
	if err := toml.Unmarshal(source, &discard); err != nil {
		at := position{file: file}
		if syntax, ok := errors.AsType[*toml.DecodeError](err); ok {
			at.line, _ = syntax.Position()
		}
		var p problems
		p.add(at, "%v", err)
		return nil, p.err()
	}
	b := treeBuilder{file: file, root: &node{at: position{file: file}, kind: tableNode}}
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
		var p problems
		p.add(position{file: file}, "%v", err)
		return nil, p.err()
	}
	return b.root, nil
}

type treeBuilder struct {
	file   string
	parser unstable.Parser
	root   *node
}

func (b *treeBuilder) position(r unstable.Range) position {
	return position{file: b.file, line: b.parser.Shape(r).Start.Line}
}

// open walks to the table of a [header] or a new element of a [[header]].
func (b *treeBuilder) open(header *unstable.Node) *node {
	current := b.root
	for it := header.Key(); it.Next(); {
		key := it.Node()
		at := b.position(key.Raw)
		name := string(key.Data)
		if header.Kind == unstable.ArrayTable && it.IsLast() {
			list := current.get(name)
			if list == nil {
				list = &node{at: at, kind: listNode}
				current.set(name, at, list)
			}
			element := &node{at: at, kind: tableNode}
			list.items = append(list.items, element)
			return element
		}
		current = b.descend(current, name, at)
	}
	return current
}

// descend goes into a table, making it if need be, or into the last table of a list of tables.
func (b *treeBuilder) descend(current *node, name string, at position) *node {
	next := current.get(name)
	if next == nil {
		next = &node{at: at, kind: tableNode}
		current.set(name, at, next)
	}
	if next.kind == listNode && len(next.items) > 0 {
		return next.items[len(next.items)-1]
	}
	return next
}

func (b *treeBuilder) assign(current *node, keyValue *unstable.Node) {
	for it := keyValue.Key(); it.Next(); {
		key := it.Node()
		at := b.position(key.Raw)
		if it.IsLast() {
			value := b.value(keyValue.Value(), at)
			current.set(string(key.Data), at, value)
			return
		}
		current = b.descend(current, string(key.Data), at)
	}
}

func (b *treeBuilder) value(v *unstable.Node, at position) *node {
	n := &node{at: at}
	if v.Raw.Length > 0 {
		n.at = b.position(v.Raw)
	}
	switch v.Kind {
	case unstable.InlineTable:
		n.kind = tableNode
		for it := v.Children(); it.Next(); {
			b.assign(n, it.Node())
		}
	case unstable.Array:
		n.kind = listNode
		for it := v.Children(); it.Next(); {
			if item := it.Node(); item.Kind != unstable.Comment {
				n.items = append(n.items, b.value(item, n.at))
			}
		}
	case unstable.String:
		n.scalar = string(v.Data)
	case unstable.Bool:
		n.scalar = len(v.Data) == len("true")
	case unstable.Integer:
		n.scalar = integer(v.Data)
	default:
		n.scalar = rawScalar(v.Data)
	}
	return n
}

// integer decodes through go-toml, which knows the underscores and the other bases.
func integer(text []byte) any {
	var holder struct{ V int64 }
	if err := toml.Unmarshal(slices.Concat([]byte("V = "), text), &holder); err != nil {
		return rawScalar(text)
	}
	return holder.V
}
