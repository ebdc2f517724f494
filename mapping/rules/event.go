package rules

import (
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// Watches reports whether the rule reacts to an update of these columns.
func (r *Rule) Watches(differs []bool) bool {
	if r.Changed != nil {
		return slices.ContainsFunc(r.Changed, func(column int) bool { return differs[column] })
	}
	for i, d := range differs {
		if d && r.Table.Watched[i] {
			return true
		}
	}
	return false
}

// Event is a documented event with its sources.
type Event struct {
	Name   string
	At     Position
	Index  int
	Prefix string // `{"event":"name","timestamp":"`
	// Group is the number of rows of one tenant and transaction from which on they make one event; 0 for one event per row.
	Group     int
	InsteadOf []string
	// ToRoot is set if webhooks of root tenants receive the event too.
	ToRoot bool
	Rules  []*Rule
}

// Rule is one source of an event: changes of one table.
type Rule struct {
	Event   *Event
	At      Position
	Table   *Table
	On      [cdc.Truncate + 1]bool
	Changed []int // nil for the watched columns of the table and all of its children
	// ChangedChildren are the children that changed names.
	ChangedChildren []*Children
	// Becomes must be false before an update and true after it; nil for any update.
	Becomes  *Condition
	When     *Condition
	Resource Resource
	Data     Data
	// Absorb is set for the operations that cause no event if a parent was deleted (inserted) in the same transaction.
	Absorb         [cdc.Truncate + 1]bool
	UnlessFollowed *UnlessFollowed
	// OncePer is the column whose value makes at most one event in a transaction; -1 for one event per row.
	OncePer   int
	Parents   []int // whose rows are needed, as indexes into the table's parents
	Collected []*Collect
}

// Resource says what the resource_id of an event is: the tenant's key, or parts that are joined.
type Resource struct {
	Tenant bool
	Parts  []ResourcePart
}

// ResourcePart is a text, or a column of the row or of one of its parents.
type ResourcePart struct {
	Text     string
	IsColumn bool
	Column   int
	Parent   int // an index into the table's parents, or -1 for the row itself
}

// Overlaps reports whether the rules share a table and an operation.
func (r *Rule) Overlaps(other *Rule) bool {
	return r.Table == other.Table && r.SharesOperation(other.On)
}

// SharesOperation reports whether the rule is on one of the operations.
func (r *Rule) SharesOperation(other [cdc.Truncate + 1]bool) bool {
	for op, on := range r.On {
		if on && other[op] {
			return true
		}
	}
	return false
}

// UnlessFollowed delays an event, and drops it if another change follows.
type UnlessFollowed struct {
	Within time.Duration
	When   *Condition // nil: always delay
	Same   []int      // columns of the rule's table
	// The change that cancels the event:
	Follower     *Table
	On           [cdc.Truncate + 1]bool
	FollowerSame []int // columns of follower, in the order of same
}

// delayCondition returns the condition of unless_followed, or nil.
func (r *Rule) delayCondition() *Condition {
	if r.UnlessFollowed == nil {
		return nil
	}
	return r.UnlessFollowed.When
}
