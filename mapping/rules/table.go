package rules

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// Table is a mapped table. All names are resolved to indexes into its columns.
type Table struct {
	CDC     *cdc.Table
	At      Position
	Index   int
	Source  *tomlpos.Node
	Columns map[string]int

	// By column:
	FirstNamed []Position // where the mapping names the column first
	Secret     []bool     // read, but never part of a payload
	Public     []bool     // Declared not to be a secret, regardless of its name and type
	Watched    []bool     // its change is an update: in columns or parents, and not under ignore
	Optional   []bool
	OmitNull   []bool
	Formats    []*value.Spec

	Parents []Parent
	// ToTenant lists the parents on the shortest path to the tenant, the preferred one first; distance is the length of the
	// path.
	ToTenant     []int
	Distance     int
	TenantColumn int // names the tenant itself, or -1
	TenantParent int // the only parent that may lead to the tenant, or -1

	Deleted *Condition
	Object  []Field
	// Declared holds the fields that include and collect of the table declare, by name.
	Declared map[string]Field

	Children []*Children // of this table
	ChildOf  []ChildOf   // the tables whose rows watch the rows of this one

	IsParent       bool // of some table, which needs to know its deleted and written rows
	Collected      bool // Its rows are part of other events as children.
	CollectedBy    int  // the column by which its rows are found from their parent
	Collects       bool // Its events, or events that include it, may list children.
	Embedded       bool // Its object is part of other objects.
	AbsorbsInserts bool // Its inserts absorb the inserts of children.

	Rules [cdc.Truncate + 1][]*Rule // by operation
}

// Parent is a foreign key to a mapped table, whose key is one column.
type Parent struct {
	Column int
	Table  *Table
	// LookupOnly is set if the parent's coming and going absorbs no events of its children.
	LookupOnly bool
}

// Name returns the name of the table, without its schema.
func (t *Table) Name() string { return t.CDC.Name }

// ColumnNames returns the names of the mapped columns, sorted.
func (t *Table) ColumnNames() []string { return slices.Sorted(maps.Keys(t.Columns)) }

// ParentOf returns the parent that the column refers to, as an index into Parents.
func (t *Table) ParentOf(column int) (int, bool) {
	i := slices.IndexFunc(t.Parents, func(p Parent) bool { return p.Column == column })
	return i, i >= 0
}

// WatchesAny reports whether the change of any column is an update.
func (t *Table) WatchesAny() bool {
	return slices.Contains(t.Watched[min(t.CDC.KeyColumns, len(t.Watched)):], true)
}
