package cdc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Column is a mapped column: its values may leave this package.
type Column struct {
	Name string
	// Hash replaces the value by its lower-case hex SHA-256 before it leaves: of the 16 bytes of a uuid, of the text of any
	// other type. It is for keys that are secrets.
	Hash bool
	// Secret columns are read for the relay's own use and never sent. They should be stored encrypted.
	Secret bool
	// Optional columns may be missing from the database; their values are then Absent. A key column cannot be optional.
	Optional bool
	// Parent is the table whose single-column key this column references; nil if it references none. Values of keys, and of
	// columns with a Parent, are written in a canonical form: those that the database considers equal have the same text.
	Parent *Table
}

// Table is a mapped table. Only the named columns leave this package.
type Table struct {
	Schema string
	Name   string
	// Columns are the key columns, then the others, without duplicates.
	Columns []Column
	// KeyColumns is how many of Columns, from the first, form the Key; at least 1.
	KeyColumns int
	// Optional tables may be missing from the database, for example when the preset of a newer IAM is used with an older schema.
	Optional bool
}

// Index returns the index of the named column in Columns, or -1.
func (t *Table) Index(column string) int {
	for i := range t.Columns {
		if t.Columns[i].Name == column {
			return i
		}
	}
	return -1
}

// KeyOf returns the row's key. It is an error if a key column is NULL or its value is not known.
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

func (t *Table) withoutKey(column int) error {
	name := t.Columns[column].Name
	return fmt.Errorf("a row of table %s has no value in its key column %s, so it cannot be identified; correct the row, run ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, "+
		"then iam-relay reconcile --skip-wal to resynchronize the tables without reading this part of the WAL", qualifiedName(t), name, quoteTable(t), pgx.Identifier{name}.Sanitize())
}

// parents returns the tables that columns of the table reference, without duplicates and without the table itself.
func (t *Table) parents() []*Table {
	var all []*Table
	for i := range t.Columns {
		if p := t.Columns[i].Parent; p != nil && p != t && !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// qualifiedName is the table's name as messages have it: schema.name.
func qualifiedName(t *Table) string { return t.Schema + "." + t.Name }

// quoteTable writes the table's name as SQL.
func quoteTable(t *Table) string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }

// quoteQualified writes a schema.name as SQL.
func quoteQualified(table string) string {
	return pgx.Identifier(strings.SplitN(table, ".", 2)).Sanitize()
}

// schemasAndNames returns the schemas and the names of tables, as arguments of a query.
func schemasAndNames(tables []*Table) (schemas, names []string) {
	schemas, names = make([]string, len(tables)), make([]string, len(tables))
	for i, t := range tables {
		schemas[i], names[i] = t.Schema, t.Name
	}
	return schemas, names
}

// columnNames returns, for each table, the names of its mapped columns, one per line.
func columnNames(tables []*Table) []string {
	all := make([]string, len(tables))
	for i, t := range tables {
		names := make([]string, len(t.Columns))
		for j := range t.Columns {
			names[j] = t.Columns[j].Name
		}
		all[i] = strings.Join(names, "\n")
	}
	return all
}

// containsTable reports whether the tables include the one with the qualified name.
func containsTable(tables []*Table, name string) bool {
	return slices.ContainsFunc(tables, func(t *Table) bool { return t.Schema+"."+t.Name == name })
}
