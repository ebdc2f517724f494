package cdc

import (
	"fmt"

	"github.com/jackc/pgx/v5"
)

// reference is a column that references the key of another table, as the database has both.
type reference struct {
	table               *tableDescription
	index               int // of the column in Table.Columns
	column, key         column
	columnType, keyType uint32 // with domains resolved
	keyName             string // table.column
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

// incomparable returns why equal values of the column and the key cannot be recognized by their texts; empty if they can.
func (c *Catalog) incomparable(r reference) string {
	class, key := c.classOf(r.columnType), c.classOf(r.keyType)
	switch {
	case r.column.nondeterministic || r.key.nondeterministic:
		return fmt.Sprintf("references %s with a nondeterministic collation, in which different texts can be equal", r.keyName)
	case key == caseInsensitiveClass || class == caseInsensitiveClass && key != textClass:
		return fmt.Sprintf("references %s and one of the two is citext, so texts that differ in case are equal", r.keyName)
	case class == inexactClass || key == inexactClass:
		return fmt.Sprintf("references %s and one of the two has a type in which equal values can be written differently", r.keyName)
	case r.columnType != r.keyType && class == key && (class == timeClass || class == networkClass):
		return fmt.Sprintf("references %s, which has another type and writes equal values differently", r.keyName)
	}
	return ""
}

// fix returns the remedy for an incomparable reference.
func (r reference) fix() string {
	name := pgx.Identifier{r.table.table.Columns[r.index].Name}.Sanitize()
	return fmt.Sprintf("the WAL only has the texts: remove %s from parents (it may stay under columns) and use a reference that is compared exactly, such as a uuid or an integer; "+
		"or give both columns an exact type, such as text COLLATE \"C\", and enforce one case with a CHECK constraint", name)
}

// referenceWarning returns which references will not be resolved although the database, or the application, may consider them
// valid; empty if there are none.
func (c *Catalog) referenceWarning(r reference) string {
	class, key := c.classOf(r.columnType), c.classOf(r.keyType)
	switch {
	case class == uuidClass && key == textClass, class == textClass && key == uuidClass && r.index < r.table.table.KeyColumns:
		return fmt.Sprintf("references %s, and one of the two is a uuid and the other a text: a row is found only if the text is a uuid in lower case with hyphens", r.keyName)
	case r.columnType == r.keyType && class == otherClass:
		return fmt.Sprintf("references %s, and both have a type whose equality is not known: a row is found only if the texts are identical", r.keyName)
	case class != key && !(class == textClass && key == uuidClass) && !(class == caseInsensitiveClass && key == textClass):
		return fmt.Sprintf("references %s, which has another type: a row is found only if the texts are identical", r.keyName)
	}
	return ""
}

// checkReferences notes which columns cannot be compared with the keys that they reference.
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
			warnings = append(warnings, Problem{Table: qualifiedName(d.table), Column: d.table.Columns[r.index].Name, Text: text, Fix: "give both columns the same type, unless the texts are always written that way"})
		}
	}
	return warnings
}
