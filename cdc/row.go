package cdc

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Kind says what the log told about one value.
type Kind uint8

const (
	// Absent: the log did not carry the column (a key-only old image, or a column the table does not have).
	Absent Kind = iota
	// Unchanged: a TOASTed value that the UPDATE did not touch. It is never null; the mirror knows it.
	Unchanged
	// Null is SQL NULL.
	Null
	// Text is a value in PostgreSQL's text format, under the session settings that this package pins
	// (DateStyle ISO, TimeZone UTC, IntervalStyle postgres, extra_float_digits 3, bytea_output hex).
	Text
)

// Value is one column's value.
type Value struct {
	Kind Kind
	Text string
}

// TextValue returns a non-null value.
func TextValue(s string) Value { return Value{Kind: Text, Text: s} }

// NullValue is SQL NULL.
var NullValue = Value{Kind: Null}

// Known reports whether the value itself is known: null or text.
func (v Value) Known() bool { return v.Kind >= Null }

// MaxRow is how many bytes the mapped values of one row may have together. A larger row is an error, never skipped: it would be
// in memory many times over. Columns that are not mapped do not count.
const MaxRow = 16 << 20

// Row holds the values of a Table's columns, in the order of Table.Columns. A nil Row is no row.
type Row []Value

// Key identifies a row within its table: the key column's text, or, for a key of several columns, their texts joined
// by a unit separator, which with the backslash is escaped inside them. It never holds a NUL.
type Key string

const keySeparator = "\x1f"

var keyEscaper = strings.NewReplacer(`\`, `\\`, keySeparator, `\s`)

// MakeKey builds a Key from the texts of the key columns in the order of Table.Columns.
func MakeKey(texts ...string) Key {
	if len(texts) == 1 {
		return Key(texts[0])
	}
	escaped := make([]string, len(texts))
	for i, t := range texts {
		escaped[i] = keyEscaper.Replace(t)
	}
	return Key(strings.Join(escaped, keySeparator))
}

// Column is a column that may leave this package.
type Column struct {
	Name string
	// Hash replaces the value by the lower-case hex SHA-256 of it before it leaves: of the 16 raw bytes of a uuid, of the
	// text of anything else. For secrets that are keys.
	Hash bool
	// Secret columns are read for the relay's own use and never sent. Whoever stores them should seal them.
	Secret bool
	// Optional columns may be missing from the database; their values are then Absent. A key column cannot be optional.
	Optional bool
	// Parent is the table whose key, of one column, this column holds; nil for none. Keys, and columns with a Parent, have one text
	// for all values that the database calls equal.
	Parent *Table
}

// Table is what the relay reads of one table. Only the named columns ever leave this package.
type Table struct {
	Schema string
	Name   string
	// Columns: the key columns first, then the others. No duplicates.
	Columns []Column
	// KeyColumns is how many of Columns, from the first, make the Key. At least 1.
	KeyColumns int
	// Optional tables, like optional columns, may be missing from the database: the preset of a newer IAM on an older
	// schema.
	Optional bool
}

// Index returns the position of the named column in Columns, or -1.
func (t *Table) Index(column string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == column {
			return i
		}
	}
	return -1
}

// KeyOf returns the row's key. It is an error if a key column is not a known text: a key is never null.
func (t *Table) KeyOf(row Row) (Key, error) {
	if t.KeyColumns == 1 {
		if len(row) == 0 || row[0].Kind != Text {
			return "", t.withoutKey(0)
		}
		return Key(row[0].Text), nil
	}
	texts := make([]string, t.KeyColumns)
	for i := range texts {
		if i >= len(row) || row[i].Kind != Text {
			return "", t.withoutKey(i)
		}
		texts[i] = row[i].Text
	}
	return MakeKey(texts...), nil
}

// Relation is one version of a table as the log describes it: a schema change in the IAM gives a new one.
type Relation struct {
	*Table
	// Types holds the type OID of each of Table.Columns, domains resolved to their base type; 0 for a column that the
	// database does not have.
	Types []uint32
	// Spellings are how keys and references are written; nil: as they are.
	CanonicalForms []CanonicalForm
}

// Op is what happened to a row.
type Op uint8

const (
	Insert Op = iota + 1
	Update
	Delete
	// Truncate empties the whole table; the change has neither key nor rows.
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

// Change is one row change. As it leaves the Source, Old is set only where the table's replica identity is FULL; the
// mirror supplies it otherwise.
type Change struct {
	// Seq is the change's place in its transaction, from 0, unique but not gapless.
	Seq int
	// Sub orders changes that share a Seq: what a reader has expanded a Truncate into. It is 0 in what the Source hands over.
	Sub      int
	Op       Op
	Relation *Relation
	Key      Key
	// New is the row after an Insert or Update, else nil.
	New Row
	// Old is the row before an Update or Delete, where known, else nil.
	Old Row
	// Moved is set on the Insert half of an UPDATE that changed the key, which becomes a Delete of the old key and an Insert
	// of the new one. From is then the old key, which may be empty: the empty string is a key like any other.
	Moved bool
	From  Key
}

// Before reports whether c comes before other in their transaction.
func (c *Change) Before(other *Change) bool { return c.ordinal().before(other.ordinal()) }

func (c *Change) ordinal() ordinal { return ordinal{c.Seq, c.Sub} }

// place orders the changes of a transaction.
type ordinal struct{ seq, sub int }

func (p ordinal) before(other ordinal) bool {
	return p.seq < other.seq || p.seq == other.seq && p.sub < other.sub
}

func (p ordinal) compare(other ordinal) int {
	return cmp.Or(cmp.Compare(p.seq, other.seq), cmp.Compare(p.sub, other.sub))
}

func (t *Table) withoutKey(column int) error {
	name := t.Columns[column].Name
	return fmt.Errorf("a row of table %s has no value in its key column %s, so it cannot be identified; correct the row, ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, "+
		"and run `iam-relay reconcile --skip-log` to continue with a comparison", qualifiedName(t), name, quoteTable(t), pgx.Identifier{name}.Sanitize())
}
