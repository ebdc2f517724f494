package engine

import (
	"fmt"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/value"
)

// Transaction maps the changes of one commit. The changes are folded, resolved and in the order of their Seq. All of them
// pass through Observe first, then through Group if Grouping returns true, and then through Map, each time in the same
// chunks.
type Transaction struct {
	m      *Mapper
	commit Commit
	time   string // of the commit, as it is written into bodies
	rows   Rows
	index  int // of the next event
	// counting is set while rows of grouped events are counted, whose decisions are reported later.
	counting bool
	// overlay is set if lookups must see the rows that the transaction wrote, which rows does not have.
	overlay bool

	deleted  keySet
	inserted keySet
	// moved holds the old keys of rows whose keys changed.
	moved keySet
	// needsBefore is set if events may need children as they were before the transaction.
	needsBefore bool
	// removed holds deleted rows of collected tables, which rows still returns; only without overlay.
	removed keySet
	written []writtenRows // by table index; nil without overlay
	// candidates counts, by event index, the rows that may belong to a grouped event.
	candidates map[int]int
	// Rows with watched children: those with changed children (by the children's table and the parent's key), those that were
	// updated themselves, and those that came or went. grouped and mapped hold those that Group and Map have handled.
	touched, updatedParents, cameOrWent, groupedParents, mappedParents keySet
	groups                                                             map[groupKey]*groupedRows
	emitted                                                            map[*rules.Event]keySet // of rules with once_per: the values for which there is an event
	groupBytes                                                         int                     // of the unfinished grouped events
	follows                                                            map[matchKey]struct{}
	newFollows                                                         []matchKey // added to follows since the last call of Cancellations
}

// Begin starts a transaction. rows returns the mirror as it was just before the transaction, with at least the rows that
// Refs and RefsOf named.
func (m *Mapper) Begin(commit Commit, rows Rows) *Transaction {
	t := m.BeginLarge(commit, rows)
	t.overlay = true
	return t
}

// BeginLarge starts a transaction that is too large to keep in memory. rows returns the mirror as it is after the
// transaction, except that it still has the rows that the transaction deleted.
func (m *Mapper) BeginLarge(commit Commit, rows Rows) *Transaction {
	return &Transaction{m: m, commit: commit, time: string(value.AppendTime(nil, commit.Time)), rows: rows}
}

// Observe collects what Map must know of the whole transaction: the deleted, written and grouped rows, and the changes that
// cancel delayed events. If a change causes an error, Map returns it.
func (t *Transaction) Observe(changes []cdc.Change) {
	for i := range changes {
		c := &changes[i]
		change, ok, err := t.m.rowChangeOf(c)
		if err != nil || change.bound == nil {
			continue
		}
		table := change.bound.Table
		if t.overlay && (table.IsParent || table.Collected) {
			t.recordWritten(table, c)
		}
		if !t.overlay && table.Collected && c.Op == cdc.Delete {
			t.removed.add(table, c.Key)
		}
		if c.Op != cdc.Truncate {
			t.observeChildren(c, change, ok)
		}
		if !ok {
			continue
		}
		t.observeParent(c, change)
		t.countCandidates(table.Rules[change.op])
		t.observeFollower(change)
	}
}

// countCandidates counts a row that may belong to the grouped events of the rules.
func (t *Transaction) countCandidates(matching []*rules.Rule) {
	for _, r := range matching {
		if t.groupsBy(r) {
			if t.candidates == nil {
				t.candidates = map[int]int{}
			}
			t.candidates[r.Event.Index]++
		}
	}
}

// NeedsChildrenBefore reports whether Map may ask for children as they were before the transaction.
func (t *Transaction) NeedsChildrenBefore() bool { return t.needsBefore }

// Map emits the events of the changes. A grouped event is emitted with its last row, under the index that was reserved at its
// first row. Map stops at the first error, including errors of emit.
func (t *Transaction) Map(changes []cdc.Change, emit func(Event) error) error {
	for i := range changes {
		c := &changes[i]
		if err := t.mapChange(c, emit); err != nil {
			return t.changeError(c, err)
		}
	}
	return nil
}

func (t *Transaction) changeError(c *cdc.Change, err error) error {
	return fmt.Errorf("map %s of %s.%s at %s: %w", c.Op, c.Relation.Schema, c.Relation.Name, t.commit.LSN, err)
}

func (t *Transaction) mapChange(c *cdc.Change, emit func(Event) error) error {
	change, ok, err := t.m.rowChangeOf(c)
	if err != nil {
		return err
	}
	if ok {
		if err := t.mapRow(change, emit); err != nil {
			return err
		}
	}
	return t.parentUpdates(c, &t.mappedParents, func(parent rowChange) error { return t.mapRow(parent, emit) })
}

func (t *Transaction) mapRow(change rowChange, emit func(Event) error) error {
	if len(change.bound.Table.Rules[change.op]) == 0 {
		return nil
	}
	matched := t.matchingRules(change)
	if len(matched) == 0 {
		return nil
	}
	tenant := t.tenantOf(change.bound.Table, change.row)
	var grouping []*rules.Rule // whose grouped events replace single ones
	for _, r := range matched {
		if r.Event.Group == 0 {
			continue
		}
		g := t.groupOf(r, tenant)
		if g == nil {
			t.decide(r, change, TooFew, nil, tenant)
		} else {
			grouping = append(grouping, r)
			t.decide(r, change, Grouped, nil, tenant)
			if err := t.addToGroup(g, r, tenant, change, emit); err != nil {
				return err
			}
		}
	}
	for _, r := range matched {
		replaced := slices.ContainsFunc(grouping, func(g *rules.Rule) bool { return slices.Contains(g.Event.InsteadOf, r.Event.Name) })
		if r.Event.Group > 0 {
			continue
		}
		if replaced {
			t.decide(r, change, Replaced, nil, tenant)
			continue
		}
		if t.repeats(r, change.row) {
			t.decide(r, change, Repeated, nil, tenant)
			continue
		}
		e, canceled, err := t.buildEvent(r, change, tenant)
		if err != nil {
			return err
		}
		if canceled {
			t.decide(r, change, Canceled, nil, tenant)
			continue
		}
		outcome := Fired
		if e.Delay != nil {
			outcome = Delayed
		}
		t.decide(r, change, outcome, nil, tenant)
		e.Index = t.nextIndex()
		if err := emit(e); err != nil {
			return err
		}
	}
	return nil
}

// repeats reports whether the rule's event was already emitted for the value of the column that once_per names.
func (t *Transaction) repeats(r *rules.Rule, row cdc.Row) bool {
	v := cdc.Value{}
	if r.OncePer >= 0 {
		v = rules.ValueAt(row, r.OncePer)
	}
	if v.Kind != cdc.Text {
		return false
	}
	if t.emitted == nil {
		t.emitted = map[*rules.Event]keySet{}
	}
	seen := t.emitted[r.Event]
	if seen.has(r.Table, cdc.Key(v.Text)) {
		return true
	}
	seen.add(r.Table, cdc.Key(v.Text))
	t.emitted[r.Event] = seen
	return false
}

// matchingRules returns the rules whose events the change causes. The next call reuses the result.
func (t *Transaction) matchingRules(change rowChange) []*rules.Rule {
	m := t.m
	var children []*rules.Children
	if change.op == cdc.Update {
		m.findDifferences(change)
		children = t.changedChildren(change)
		if len(children) == 0 && t.onlyLostParents(change, m.differs) {
			for _, r := range change.bound.Table.Rules[change.op] {
				t.decide(r, change, ParentLost, nil, "")
			}
			return nil
		}
	}
	absorber := t.absorbedBy(change)
	m.matched = m.matched[:0]
	m.eval.Scope = t.scope(change)
	for _, r := range change.bound.Table.Rules[change.op] {
		switch {
		case change.op == cdc.Update && !r.Watches(m.differs) && !slices.ContainsFunc(children, r.WatchesChildren):
			t.decide(r, change, Unchanged, nil, "")
		case absorber != nil && r.Absorb[change.op]:
			t.decide(r, change, Absorbed, absorber, "")
		case r.Event.Group > t.candidates[r.Event.Index]:
			t.decide(r, change, TooFew, nil, "")
		case !t.conditionsHold(r, change):
			t.decide(r, change, ConditionFalse, nil, "")
		default:
			m.matched = append(m.matched, r)
		}
	}
	return m.matched
}

// conditionsHold reports whether the conditions of the rule are true. The scope of the evaluator must be that of the change.
func (t *Transaction) conditionsHold(r *rules.Rule, change rowChange) bool {
	if r.Becomes != nil {
		if t.m.selects(r.Becomes, change.bound, change.old) || !t.m.selects(r.Becomes, change.bound, change.row) {
			t.m.eval.Scope = t.scope(change)
			return false
		}
		t.m.eval.Scope = t.scope(change)
	}
	return t.m.eval.Holds(r.When)
}

// scope returns the scope of a change's conditions. For an update, findDifferences must have been called before.
func (t *Transaction) scope(change rowChange) rules.Scope {
	s := rules.Scope{Bound: change.bound, Look: transactionLookup{t}, Row: change.row, Old: change.old}
	if change.op == cdc.Update {
		s.Differs = t.m.differs
	}
	return s
}

// nextIndex reserves an event index.
func (t *Transaction) nextIndex() int {
	t.index++
	return t.index - 1
}

// Cancellations returns the match keys, sorted, of the changes that were observed since its last call. They cancel delayed events
// of earlier transactions.
func (t *Transaction) Cancellations() []string {
	out := make([]string, len(t.newFollows))
	for i, match := range t.newFollows {
		out[i] = match.String()
	}
	t.newFollows = nil
	slices.Sort(out)
	return out
}
