package rules

import "slices"

// Children describes the rows of another table that are part of a row: their change is an update of that row.
type Children struct {
	Collect
	Name string
	// Hidden children are watched by rules that name them, and not shown.
	Hidden bool
	// Where selects the rows that count; nil for all.
	Where *Condition
	// Object says how the rows make one object; nil for an array.
	Object *ChildObject
}

// ChildObject makes one object of rows that hold a name and a value each.
type ChildObject struct {
	Key int
	// Values are columns of which the first that is not null is the value.
	Values []int
	// Multi writes an array of values under each name. Without it, the first value in order is written.
	Multi bool
}

// ChildOf says that the rows of a table are children of another one.
type ChildOf struct {
	Parent   *Table
	Children *Children
}

// WatchesChildren reports whether the rule reacts to a change of these children. Like hashed columns, hidden ones count only
// where they are named.
func (r *Rule) WatchesChildren(c *Children) bool {
	return r.Changed == nil && !c.Hidden || slices.Contains(r.ChangedChildren, c)
}
