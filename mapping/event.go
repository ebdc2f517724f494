package mapping

import (
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// Event is one documented event, made of the row changes of one transaction.
type Event struct {
	// Index numbers the events of a transaction from 0, in the order of the changes that made them; a grouped one has the place of
	// its first row, and is emitted later than that. With the commit LSN the index makes the event's identity, so it depends on
	// nothing but the transaction and the rules.
	Index int
	Name  string
	// Tenant is the key of the tenant row (the realm's id). Empty where it could not be resolved: such an event is kept and
	// shown, never delivered.
	Tenant cdc.Key
	// TenantName is what people call the tenant: the column that the mapping's tenant_name names. Empty where unknown.
	TenantName string
	// Resource is what the payload calls resource_id.
	Resource string
	// ToRoot: the root tenant's webhooks hear it too (a tenant created or deleted).
	ToRoot bool
	// Body is the payload exactly as it is sent and signed; nil if it would be larger than [Mapper.MaxBody] allows.
	Body []byte
	// Hold is set on an event that a later change may cancel (unless_followed), else nil.
	Hold *Hold
}

// Hold says for how long an event waits, and for what.
type Hold struct {
	// Match is what a cancelling change carries; compare with Transaction.Follows.
	Match string
	// Within is counted from the commit time of the held event's transaction to that of the cancelling one.
	Within time.Duration
}

// Rows gives the rows that are not in the transaction itself: the mirror as of just before it.
type Rows interface {
	// Row returns the mirrored row, or nil.
	Row(table *cdc.Table, key cdc.Key) cdc.Row
	// Children returns the rows of table whose column by (an index into its Columns) holds the parent's key, in key order.
	Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row
	// Former returns them as they were before the transaction.
	Former(table *cdc.Table, by int, parent cdc.Key) []cdc.Row
}

// PartialRows is implemented by Rows that do not return children which take too much memory. Partly reports whether the last
// Children left some out: an event that collects them has no body.
type PartialRows interface{ Partly() bool }

// Ref names a row of the mirror that mapping needs.
type Ref struct {
	Table *cdc.Table
	Key   cdc.Key
	// By is 0 for the row with that key; else the rows of Table whose column By (an index into its Columns, never 0) holds Key.
	By int
	// Before: as they were before the transaction.
	Before bool
}

// Commit is the transaction that changes belong to.
type Commit struct {
	LSN  cdc.LSN
	Time time.Time
	// Reconciled: the changes are net differences of a span of time, not one transaction. What may not have been done together
	// has its single events, not the grouped one that stands for them.
	Reconciled bool
}
