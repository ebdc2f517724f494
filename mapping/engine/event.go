package engine

import (
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// Event is a documented event that a transaction caused.
type Event struct {
	// Index numbers the events of a transaction from 0, in the order of the changes that caused them. A grouped event has the
	// index of its first row and is emitted later. The event's identity is made of the commit LSN and the index, so the index
	// depends only on the transaction and the rules.
	Index int
	Name  string
	// Tenant is the key of the tenant's row (the id of the realm). It is empty if the tenant could not be found: such an
	// event is stored and shown, but never delivered.
	Tenant cdc.Key
	// TenantName is the value of the column that the mapping's tenant_name names, or empty.
	TenantName string
	// Resource is the resource_id of the payload.
	Resource string
	// ToRoot is set if the event also goes to the webhooks of root tenants (a tenant was created or deleted).
	ToRoot bool
	// Body is the payload exactly as it is sent and signed, or nil if it would exceed [Mapper.SetMaxBody].
	Body []byte
	// Delay is set on an event that a later change may cancel (unless_followed), else nil.
	Delay *Delay
}

// Delay describes how long an event is delayed, and which change cancels it.
type Delay struct {
	// Match is compared with the result of Transaction.Cancellations.
	Match string
	// Within is the time from the commit of the delayed event's transaction to the commit of the cancelling one.
	Within time.Duration
}

// Rows provides rows that are not part of the transaction: the mirror as it was just before the transaction.
type Rows interface {
	// Row returns the mirrored row, or nil.
	Row(table *cdc.Table, key cdc.Key) cdc.Row
	// Children returns the rows of the table whose column by (an index into its Columns) holds the parent's key, in key order.
	Children(table *cdc.Table, by int, parent cdc.Key) []cdc.Row
	// ChildrenBefore returns the children as they were before the transaction.
	ChildrenBefore(table *cdc.Table, by int, parent cdc.Key) []cdc.Row
}

// PartialRows is implemented by Rows that may omit children to limit memory. ChildrenOmitted reports whether the last call of
// Children omitted some; an event that collects them has no body.
type PartialRows interface{ ChildrenOmitted() bool }

// Ref refers to rows of the mirror that mapping needs.
type Ref struct {
	Table *cdc.Table
	Key   cdc.Key
	// By is 0 for the row with that key. Otherwise the Ref stands for the rows of Table whose column By (an index into its
	// Columns, never 0) holds Key.
	By int
	// Before asks for the rows as they were before the transaction.
	Before bool
}

// Commit identifies the transaction that changes belong to.
type Commit struct {
	LSN  cdc.LSN
	Time time.Time
	// Reconciled is set if the changes are the net differences of a period and not of one transaction. Rows that were perhaps
	// not changed together cause single events instead of a grouped one.
	Reconciled bool
}
