package rules

import "github.com/iam-relay/iam-relay/mapping/value"

// Field is one member of a payload object, or a bare value.
type Field struct {
	Name   string
	Prefix string // `"name":`
	Kind   fieldKind
	// Column is an index into the columns of the table, or of the parent for a parentColumn.
	Column   int
	Parent   int    // an index into the table's parents
	Literal  string // JSON
	Collect  *Collect
	Children *Children
	OmitNull bool
}

type fieldKind uint8

const (
	ColumnField  fieldKind = iota
	UUIDField              // a hashed column in the form of a uuid
	ParentColumn           // a column of the parent row
	SpliceField            // the members of the parent's object, in place
	IncludeField           // the parent's object, or null
	CollectField           // an array of the children's objects or values
	LiteralField
	ChildrenField // what Children show
)

// Data describes the data of an event: an object, or a bare value.
type Data struct {
	Bare   bool
	Fields []Field
}

// WithName returns the field as a member of that name.
func (f Field) WithName(name string) Field {
	f.Name = name
	f.Prefix = string(value.AppendString(nil, name)) + ":"
	return f
}

// Collect selects the rows of a table whose column by holds the key of the current row.
type Collect struct {
	Table *Table
	By    int
	// Column is the column whose values make the array; -1 for an array of objects.
	Column int
}

// SetParent records whose keys the column by holds, unless parents of the child table does.
func (c *Collect) SetParent(t *Table) {
	if column := &c.Table.CDC.Columns[c.By]; column.Parent == nil {
		column.Parent = t.CDC
	}
}

// MaxEmbedding limits the depth of objects inside objects.
const MaxEmbedding = 8

// Embeds returns the table whose object the field contains, or nil.
func (f Field) Embeds(t *Table) *Table {
	switch {
	case f.Kind == SpliceField || f.Kind == IncludeField:
		return t.Parents[f.Parent].Table
	case f.Kind == CollectField && f.Collect.Column < 0:
		return f.Collect.Table
	case f.Kind == ChildrenField && f.Children.Column < 0 && f.Children.Object == nil:
		return f.Children.Table
	}
	return nil
}
