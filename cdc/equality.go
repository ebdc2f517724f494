package cdc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Keys and references are compared as texts, in memory and in the consumer's store, while the database compares them by its types:
// to it, 1.0 is 1, and a char(3) 'a' is a varchar 'a'. So keys and references leave this package in one spelling for all that is
// equal, as far as the types decide what that is. Where a locale decides it (citext, case-insensitive collations), nothing outside
// the database can: its locale's version may differ, and so may its idea of a small letter. Such references are refused.

// Spelling is how a value of a key or a reference is rewritten.
type CanonicalForm uint8

const (
	verbatim       CanonicalForm = iota
	trimmedBlanks            // char(n): trailing blanks mean nothing
	plainNumeric          // numeric: nor do zeros at the end of a fraction
	plainFloat4
	plainFloat8
	lowerUUID // a text that refers to a uuid
)

const (
	bpcharOID   = 1042
	numericOID  = 1700
	float4OID   = 700
	float8OID   = 701
	intervalOID = 1186
	jsonbOID    = 3802
)

// typeClass groups types between which PostgreSQL, or a spelling, compares by value.
type typeClass uint8

const (
	otherClass typeClass = iota
	textClass
	numberClass
	uuidClass
	timeClass
	networkClass
	exactClass  // its text says it all
	caseInsensitiveClass // citext
	inexactClass  // equal values may have texts that differ in more than a spelling can undo
)

// https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat
var typeClasses = map[uint32]typeClass{
	25: textClass, 1043: textClass, 19: textClass, 18: textClass, bpcharOID: textClass,
	20: numberClass, 21: numberClass, 23: numberClass, 26: numberClass, numericOID: numberClass, float4OID: numberClass, float8OID: numberClass,
	uuidOID: uuidClass, 1082: timeClass, 1114: timeClass, 1184: timeClass, 869: networkClass, 650: networkClass,
	16: exactClass, 17: exactClass, 1083: exactClass, 1266: exactClass, 829: exactClass, 774: exactClass, 1560: exactClass, 1562: exactClass,
	790: exactClass, 3220: exactClass, 5069: exactClass, intervalOID: inexactClass, jsonbOID: inexactClass,
}

func (c *Catalog) classOf(oid uint32) typeClass {
	if class, ok := c.typeClasses[oid]; ok {
		return class
	}
	return typeClasses[oid]
}

// ownSpelling is that of a key, or of a reference to a key of the same type.
func formOfType(oid uint32) CanonicalForm {
	switch oid {
	case bpcharOID:
		return trimmedBlanks
	case numericOID:
		return plainNumeric
	case float4OID:
		return plainFloat4
	case float8OID:
		return plainFloat8
	}
	return verbatim
}

// spell decides how a column is spelled whose type is oid, or 0. A key is never spelled by what it refers to: two keys that its
// own type distinguishes must stay two.
func (c *Catalog) canonicalForm(t *Table, column int, oid uint32) CanonicalForm {
	parent := t.Columns[column].Parent
	switch {
	case oid == 0 || t.Columns[column].Hash || column >= t.KeyColumns && parent == nil:
		return verbatim
	case column < t.KeyColumns || c == nil:
		return formOfType(oid)
	}
	d := c.description(parent)
	if d == nil {
		return formOfType(oid)
	}
	key := c.baseType(d.columns[parent.Columns[0].Name].typeOID)
	switch class := c.classOf(oid); {
	case class == textClass && key == uuidOID:
		return lowerUUID
	case class == textClass && key == bpcharOID, class == numberClass && oid != float4OID && (key == float4OID && oid != float8OID || key == float8OID):
		return formOfType(key)
	}
	return formOfType(oid)
}

// spellings are those of all columns; nil if all are as they are.
func (c *Catalog) canonicalForms(t *Table, types []uint32) []CanonicalForm {
	all, some := make([]CanonicalForm, len(types)), false
	for i, oid := range types {
		all[i] = c.canonicalForm(t, i, oid)
		some = some || all[i] != verbatim
	}
	if !some {
		return nil
	}
	return all
}

// write returns the text in this spelling, which may share its bytes.
func (s CanonicalForm) write(text []byte) []byte {
	switch s {
	case trimmedBlanks:
		return bytes.TrimRight(text, " ")
	case plainNumeric:
		return writeNumeric(text)
	case plainFloat4:
		return writeFloat(text, 32)
	case plainFloat8:
		return writeFloat(text, 64)
	case lowerUUID:
		return writeUUID(text)
	}
	return text
}

func writeNumeric(text []byte) []byte {
	if bytes.IndexByte(text, '.') < 0 {
		return text
	}
	return bytes.TrimSuffix(bytes.TrimRight(text, "0"), []byte("."))
}

// plainFloat writes a number without an exponent, as integers and numerics are written, and a single as the double that equals it.
// Texts that are no finite number stay.
func writeFloat(text []byte, bits int) []byte {
	f, err := strconv.ParseFloat(string(text), bits)
	switch {
	case err != nil || math.IsNaN(f) || math.IsInf(f, 0):
		return text
	case f == 0:
		return []byte("0") // also for -0, which equals it
	}
	return strconv.AppendFloat(nil, f, 'f', -1, 64)
}

// uuidText writes any text that PostgreSQL reads as a uuid as it writes it: braces, and a hyphen after each four digits, may be
// there or not. Other texts stay.
// https://www.postgresql.org/docs/current/datatype-uuid.html
func writeUUID(text []byte) []byte {
	inner := bytes.TrimSpace(text)
	if len(inner) > 1 && inner[0] == '{' && inner[len(inner)-1] == '}' {
		inner = inner[1 : len(inner)-1]
	}
	digits := make([]byte, 0, 32)
	for i, b := range inner {
		if b == '-' {
			if len(digits) == 0 || len(digits)%4 != 0 || len(digits) == 32 || inner[i-1] == '-' {
				return text
			}
			continue
		}
		if len(digits) == 32 {
			return text
		}
		digits = append(digits, b)
	}
	var raw [16]byte
	if len(digits) != 32 {
		return text
	}
	if _, err := hex.Decode(raw[:], digits); err != nil {
		return text
	}
	return fmt.Appendf(nil, "%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

// reference is a column that holds a key of another table, as the database has both.
type reference struct {
	table     *tableDescription
	index    int
	column, key column
	columnType, keyType uint32 // their types, domains resolved
	keyName      string // of the key: table.column
}

func (c *Catalog) references(d *tableDescription) []reference {
	var all []reference
	for i, want := range d.table.Columns {
		if want.Parent == nil {
			continue
		}
		parent, keyName := c.description(want.Parent), want.Parent.Columns[0].Name
		have, ok := d.columns[want.Name]
		if !ok || parent == nil {
			continue
		}
		key, ok := parent.columns[keyName]
		if !ok {
			continue
		}
		all = append(all, reference{
			table: d, index: i, column: have, key: key, columnType: c.baseType(have.typeOID), keyType: c.baseType(key.typeOID), keyName: want.Parent.Name + "." + keyName,
		})
	}
	return all
}

// incomparable says why equal values of the reference and of its key cannot be recognized by their texts; empty if they can.
func (c *Catalog) incomparable(r reference) string {
	class, key := c.classOf(r.columnType), c.classOf(r.keyType)
	switch {
	case r.column.nondeterministic || r.key.nondeterministic:
		return fmt.Sprintf("it refers to %s under a nondeterministic collation, by which texts that differ are equal", r.keyName)
	case key == caseInsensitiveClass || class == caseInsensitiveClass && key != textClass:
		return fmt.Sprintf("it refers to %s and one of them is citext, so texts that differ in their case are equal", r.keyName)
	case class == inexactClass || key == inexactClass:
		return fmt.Sprintf("it refers to %s and one of them is of a type whose equal values are written differently", r.keyName)
	case r.columnType != r.keyType && class == key && (class == timeClass || class == networkClass):
		return fmt.Sprintf("it refers to %s, which is of another type and writes equal values differently", r.keyName)
	}
	return ""
}

// fixIncomparable is what can be done about any of them.
func (r reference) fix() string {
	name := pgx.Identifier{r.table.table.Columns[r.index].Name}.Sanitize()
	return fmt.Sprintf("the WAL has the texts only, so take %s out of parents (it may stay under columns) and refer by a column that is compared exactly, such as a uuid or an integer; "+
		"or give both columns one exact type, such as text COLLATE \"C\", and let a CHECK keep to one case", name)
}

// doubtful says what of a reference will not be found although the database, or the application, may mean it; empty if nothing.
func (c *Catalog) referenceWarning(r reference) string {
	class, key := c.classOf(r.columnType), c.classOf(r.keyType)
	switch {
	case class == uuidClass && key == textClass, class == textClass && key == uuidClass && r.index < r.table.table.KeyColumns:
		return fmt.Sprintf("it refers to %s, and one of them is a uuid and the other a text: a row is found only if the text is a uuid in lower case with hyphens", r.keyName)
	case r.columnType == r.keyType && class == otherClass:
		return fmt.Sprintf("it refers to %s, and both are of a type whose equality is not known: a row is found only where the texts are the same", r.keyName)
	case class != key && !(class == textClass && key == uuidClass) && !(class == caseInsensitiveClass && key == textClass):
		return fmt.Sprintf("it refers to %s, which is of another type: a row is found only where the texts are the same", r.keyName)
	}
	return ""
}

// judgeReferences notes which columns cannot be compared with the keys that they refer to.
func (c *Catalog) checkReferences(d *tableDescription) {
	for _, r := range c.references(d) {
		if why := c.incomparable(r); why != "" {
			have := d.columns[d.table.Columns[r.index].Name]
			have.incomparable, have.fix = why, r.fix()
			d.columns[d.table.Columns[r.index].Name] = have
		}
	}
}

func (c *Catalog) referenceWarnings(d *tableDescription) []Problem {
	var warnings []Problem
	for _, r := range c.references(d) {
		if r.column.incomparable != "" || d.masksColumn(r.index) {
			continue
		}
		if text := c.referenceWarning(r); text != "" {
			warnings = append(warnings, Problem{Table: qualifiedName(d.table), Column: d.table.Columns[r.index].Name, Text: text, Fix: "give both columns one type if that is not how they are written"})
		}
	}
	return warnings
}

// parents are the tables whose keys columns of the table hold, without itself.
func (t *Table) parents() []*Table {
	var all []*Table
	for i := range t.Columns {
		if p := t.Columns[i].Parent; p != nil && p != t && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}
