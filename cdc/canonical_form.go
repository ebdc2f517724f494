package cdc

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
)

// CanonicalForm says how the text of a key or reference is rewritten.
//
// Keys and references are compared as texts, in memory and in the outbox, while the database compares them by type: numeric 1.0
// equals 1, and a char(3) 'a' equals a varchar 'a'. They therefore leave this package in a form that is the same for all values
// that the type considers equal. If a locale decides about equality (citext, nondeterministic collations), that is impossible
// outside the database: the locale's version and its case mapping may differ. Such references are refused.
type CanonicalForm uint8

const (
	verbatim      CanonicalForm = iota
	trimmedBlanks               // char(n): trailing blanks are insignificant
	plainNumeric                // numeric: trailing zeros of the fraction are insignificant
	plainFloat4
	plainFloat8
	lowerUUID // a text that references a uuid
)

// formOfType is the form of a key of a type, and of a reference to a key of the same type.
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

// canonicalForm returns the form of a column of type oid, which is 0 if the database does not have the column. A key's form
// never depends on the key that it references: two keys that are distinct by their own type must stay distinct.
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

// canonicalForms returns the forms of all columns; nil if all are verbatim.
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

// write returns the text in this form. The result may share memory with the text.
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

// writeFloat writes a float without an exponent, as integers and numerics are written, and a float4 as the float8 that equals
// it. It returns NaN, infinities and malformed texts unchanged.
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

// writeUUID writes every text that PostgreSQL accepts as a uuid in PostgreSQL's output format. Braces, and hyphens after each
// four digits, are optional in the input. It returns other texts unchanged.
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
