package cdc

import (
	"cmp"
	"fmt"
)

// Relation is one version of a table as the WAL describes it. A schema change of the IAM gives a new one.
type Relation struct {
	*Table
	// Types holds the type OID of each of Table.Columns, with domains resolved to their base type; 0 for a column that the
	// database does not have.
	Types []uint32
	// CanonicalForms holds how the texts of each of Table.Columns are rewritten; nil if none is.
	CanonicalForms []CanonicalForm
}

// Op is the kind of a row change.
type Op uint8

const (
	Insert Op = iota + 1
	Update
	Delete
	// Truncate empties the whole table. The change has neither a key nor rows.
	Truncate
)

func (o Op) String() string {
	switch o {
	case Insert:
		return "insert"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Truncate:
		return "truncate"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Change is one row change. As it leaves the Source, Old is set only if the table's replica identity is FULL; otherwise the
// mirror has the old row.
type Change struct {
	// Seq orders the changes of a transaction. It starts at 0 and is unique, but may have gaps.
	Seq int
	// Sub orders changes with the same Seq: those into which a consumer has expanded a Truncate. The Source sets it to 0.
	Sub      int
	Op       Op
	Relation *Relation
	Key      Key
	// New is the row after an Insert or Update, else nil.
	New Row
	// Old is the row before an Update or Delete, if known, else nil.
	Old Row
	// Moved is set on the Insert of an UPDATE that changed the key; such an UPDATE becomes a Delete of the old key and an
	// Insert of the new one. OldKey is then the old key. It may be the empty string, which is a valid key.
	Moved  bool
	OldKey Key
}

// Before reports whether c precedes other in their transaction.
func (c *Change) Before(other *Change) bool { return c.ordinal().before(other.ordinal()) }

func (c *Change) ordinal() ordinal { return ordinal{c.Seq, c.Sub} }

// ordinal orders the changes of a transaction.
type ordinal struct{ seq, sub int }

func (p ordinal) before(other ordinal) bool {
	return p.seq < other.seq || p.seq == other.seq && p.sub < other.sub
}

func (p ordinal) compare(other ordinal) int {
	return cmp.Or(cmp.Compare(p.seq, other.seq), cmp.Compare(p.sub, other.sub))
}

// Size estimates the memory that a change holds, in bytes: its fields, the headers of its values, and their texts.
func (c *Change) Size() int {
	const change, value = 128, 24
	n := change + len(c.Key) + len(c.OldKey) + value*(len(c.New)+len(c.Old))
	for i := range c.New {
		n += len(c.New[i].Text)
	}
	for i := range c.Old {
		n += len(c.Old[i].Text)
	}
	return n
}
