package cdc

import "strings"

// Kind says what is known about a value.
type Kind uint8

const (
	// Absent: the WAL does not contain the column: an old row that holds only the key, or a column that the table does not have.
	Absent Kind = iota
	// Unchanged: a TOASTed value that the UPDATE did not change, and that the WAL therefore omits. It is never NULL; the mirror
	// has it.
	// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
	Unchanged
	// Null is SQL NULL.
	Null
	// Text is a value in PostgreSQL's text format, under the session settings that this package pins (DateStyle ISO, TimeZone UTC,
	// IntervalStyle postgres, extra_float_digits 3, bytea_output hex).
	Text
)

// Value is the value of one column.
type Value struct {
	Kind Kind
	Text string // empty unless Kind is Text
}

// TextValue returns a non-null value.
func TextValue(s string) Value { return Value{Kind: Text, Text: s} }

// NullValue is SQL NULL.
var NullValue = Value{Kind: Null}

// Known reports whether the value itself is known: NULL or a text.
func (v Value) Known() bool { return v.Kind >= Null }

// MaxRowBytes is the limit of the size of one row's mapped values together, in bytes. A larger row is an error, because it would be
// held in memory many times over; it is never skipped. Columns that are not mapped do not count.
const MaxRowBytes = 16 << 20

// Row holds the values of a Table's columns, in the order of Table.Columns. A nil Row stands for no row.
type Row []Value

// Key identifies a row within its table: the text of the key column, or the texts of several key columns joined by a unit
// separator (0x1F), with that and the backslash escaped. It never contains a NUL character.
type Key string

const keySeparator = "\x1f"

var keyEscaper = strings.NewReplacer(`\`, `\\`, keySeparator, `\s`)

// MakeKey builds a Key from the texts of the key columns, in the order of Table.Columns.
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

var keyUnescaper = strings.NewReplacer(`\\`, `\`, `\s`, keySeparator)

// Texts returns the texts of the key columns of a table with so many of them: what MakeKey was given.
func (k Key) Texts(columns int) []string {
	if columns == 1 {
		return []string{string(k)}
	}
	texts := strings.Split(string(k), keySeparator)
	for i := range texts {
		texts[i] = keyUnescaper.Replace(texts[i])
	}
	return texts
}
