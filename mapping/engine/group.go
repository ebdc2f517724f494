package engine

import (
	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
)

const (
	// maxGroup and maxGroupBytes limit a grouped event; more rows or more data make several events. The byte limit keeps an
	// event below 256 KiB, the default limit of a delivery.
	maxGroup      = 10_000
	maxGroupBytes = 240 << 10
	// maxGroupsBytes limits the data of all unfinished grouped events of a transaction. Beyond it, the next row of a group
	// completes its event.
	maxGroupsBytes = 4 << 20
)

// groupKey identifies the rows that may become one event.
type groupKey struct {
	event  *rules.Event
	tenant cdc.Key
}

// groupedRows are the rows of one tenant that may become one event.
type groupedRows struct {
	// count is the number of rows in the transaction, mapped the number of those that Map has seen.
	count, mapped int
	// items holds the data of the unfinished event, separated by commas; inItems is the number of its rows. index is reserved
	// for the event when its first row is added.
	items    []byte
	inItems  int
	index    int
	tooLarge bool // The data of the only row exceeds the limit of a body and was dropped.
}

// Group counts the rows of grouped events. If Grouping returns true, all changes must pass through Group after Observe and
// before Map, in the same chunks: Map must know at the first row of a group whether the rows become one event, because the
// event has the index of that row.
func (t *Transaction) Group(changes []cdc.Change) error {
	for i := range changes {
		c := &changes[i]
		if err := t.groupChange(c); err != nil {
			return t.changeError(c, err)
		}
	}
	return nil
}

// Grouping reports whether the observed changes may make a grouped event.
func (t *Transaction) Grouping() bool {
	for index, n := range t.candidates {
		if n >= t.m.binding.Rules.Events[index].Group {
			return true
		}
	}
	return false
}

func (t *Transaction) groupChange(c *cdc.Change) error {
	change, ok, err := t.m.rowChangeOf(c)
	if err != nil {
		return err
	}
	if ok {
		t.groupRow(change)
	}
	return t.parentUpdates(c, &t.groupedParents, func(parent rowChange) error {
		t.groupRow(parent)
		return nil
	})
}

// groupRow counts a row that belongs to grouped events.
func (t *Transaction) groupRow(change rowChange) {
	if !t.mayGroup(change) {
		return
	}
	t.counting = true
	matched := t.matchingRules(change)
	t.counting = false
	if len(matched) == 0 {
		return
	}
	var tenant *cdc.Key
	for _, r := range matched {
		if r.Event.Group == 0 {
			continue
		}
		if tenant == nil {
			key := t.tenantOf(change.bound.Table, change.row)
			tenant = &key
		}
		key := groupKey{r.Event, *tenant}
		if t.groups == nil {
			t.groups = map[groupKey]*groupedRows{}
		}
		if t.groups[key] == nil {
			t.groups[key] = &groupedRows{}
		}
		t.groups[key].count++
	}
}

func (t *Transaction) mayGroup(change rowChange) bool {
	for _, r := range change.bound.Table.Rules[change.op] {
		if r.Event.Group > 0 && t.candidates[r.Event.Index] >= r.Event.Group {
			return true
		}
	}
	return false
}

// groupsBy reports whether the rule groups the rows of this transaction. The differences that a reconciliation found were
// perhaps not made together, so a grouped event does not replace their single events.
func (t *Transaction) groupsBy(r *rules.Rule) bool {
	return r.Event.Group > 0 && !(t.commit.Reconciled && len(r.Event.InsteadOf) > 0)
}

// groupOf returns the group of rows that the rule makes one event of, or nil if there are too few rows.
func (t *Transaction) groupOf(r *rules.Rule, tenant cdc.Key) *groupedRows {
	if g := t.groups[groupKey{r.Event, tenant}]; g != nil && g.count >= r.Event.Group {
		return g
	}
	return nil
}

// addToGroup adds a row to its group, and emits the events that are complete.
func (t *Transaction) addToGroup(g *groupedRows, r *rules.Rule, tenant cdc.Key, change rowChange, emit func(Event) error) error {
	render := renderer{t: t}
	item := render.data(t.m.item[:0], r.Data, change.bound, change.row, change.op == cdc.Delete)
	if t.m.item = item; cap(item) > maxKeptBuffer {
		t.m.item = nil
	}
	if render.err != nil {
		return render.err
	}
	// The boundaries between events must not depend on the limit of a body, because event ids depend on the boundaries.
	alone := len(item) >= maxGroupBytes
	if g.inItems > 0 && len(g.items)+len(item) >= maxGroupBytes {
		if err := t.emitGroup(g, r, tenant, emit); err != nil {
			return err
		}
	}
	before := len(g.items)
	if g.inItems == 0 {
		g.index = t.nextIndex()
	} else {
		g.items = append(g.items, ',')
	}
	g.inItems++
	g.mapped++
	if g.tooLarge = render.exceeds(item); !g.tooLarge {
		g.items = append(g.items, item...)
	}
	t.groupBytes += len(g.items) - before
	if !alone && g.inItems < maxGroup && g.mapped < g.count && t.groupBytes < maxGroupsBytes {
		return nil
	}
	return t.emitGroup(g, r, tenant, emit)
}

func (t *Transaction) emitGroup(g *groupedRows, r *rules.Rule, tenant cdc.Key, emit func(Event) error) error {
	e := t.newEvent(r, tenant)
	e.Index = g.index
	body := t.beginBody(r, e.Resource)
	body = append(body, '[')
	body = append(body, g.items...)
	body = append(body, ']', '}')
	if render := (renderer{t: t}); !g.tooLarge && !render.exceeds(body) {
		e.Body = t.m.takeBody(body)
	}
	t.groupBytes -= len(g.items)
	g.items, g.inItems, g.tooLarge = g.items[:0], 0, false
	if g.mapped == g.count || cap(g.items) > maxKeptBuffer {
		g.items = nil
	}
	return emit(e)
}
