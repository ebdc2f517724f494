// Package tomlpos reads TOML into a tree that knows where each key and value was written. go-toml's decoder reports a line
// for its own errors only, and the checks of a configuration and of a mapping need one for every value.
package tomlpos

import "fmt"

// Position is a line of a file. Line 0 stands for the file as a whole.
type Position struct {
	File string
	Line int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d", p.File, p.Line)
}

// Node is a value: a table, a list or a scalar.
type Node struct {
	At      Position
	Kind    Kind
	Entries []Entry // of a table, in the order of the file
	Items   []*Node // of a list
	Scalar  any     // a string, bool or int64; a float, date or time as the Raw text
}

// Entry is a key of a table with its value. At is the position of the key.
type Entry struct {
	Key   string
	At    Position
	Value *Node
}

// Kind is the kind of a Node.
type Kind uint8

// The kinds of nodes. A list is an array or an array of tables.
const (
	Scalar Kind = iota
	Table
	List
)

// Raw is the text of a float, a date or a time.
type Raw string

// Get returns the value of a key, or nil if the node is nil, is not a table or does not have the key.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			return n.Entries[i].Value
		}
	}
	return nil
}

// Set adds a key to a table, or replaces the value and the position that the key has.
func (n *Node) Set(key string, at Position, value *Node) {
	for i := range n.Entries {
		if n.Entries[i].Key == key {
			n.Entries[i] = Entry{Key: key, At: at, Value: value}
			return
		}
	}
	n.Entries = append(n.Entries, Entry{Key: key, At: at, Value: value})
}
