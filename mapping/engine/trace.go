package engine

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

// Outcome is what became of a rule for the change of a row.
type Outcome string

// The outcomes.
const (
	Fired          Outcome = "fired"
	Delayed        Outcome = "delayed"         // unless a later change cancels it
	Canceled       Outcome = "canceled"        // by a change of the same transaction
	Grouped        Outcome = "grouped"         // the row is part of an event of several rows
	Replaced       Outcome = "replaced"        // a grouped event stands for it
	Repeated       Outcome = "repeated"        // the transaction already has the event for this value of once_per
	TooFew         Outcome = "too few rows"    // for a grouped event
	Unchanged      Outcome = "unchanged"       // no watched column changed
	ParentLost     Outcome = "parent lost"     // only references to deleted rows were set to null
	Absorbed       Outcome = "absorbed"        // by the event of a parent
	ConditionFalse Outcome = "condition false" // or it could not be evaluated
)

// Decision says why a rule made an event of a changed row, or made none.
type Decision struct {
	Rule    *rules.Rule
	Op      cdc.Op  // with a soft delete as a delete
	Row     cdc.Row // after the change, or before a delete
	Old     cdc.Row // before the change; nil on an insert
	Outcome Outcome
	// Parent is the table whose row absorbed the change; else nil.
	Parent *rules.Table
	// Tenant is the tenant of a rule that fired. It is empty if there is none: such an event is never delivered.
	Tenant cdc.Key
}

// OnDecision sets a function to call for each rule of each changed row, during Map. Nothing is called by default.
func (m *Mapper) OnDecision(report func(Decision)) { m.decided = report }

// decide reports a decision about a changed row.
func (t *Transaction) decide(r *rules.Rule, change rowChange, outcome Outcome, parent *rules.Table, tenant cdc.Key) {
	if t.m.decided != nil && !t.counting {
		t.m.decided(Decision{Rule: r, Op: change.op, Row: change.row, Old: change.old, Outcome: outcome, Parent: parent, Tenant: tenant})
	}
}
