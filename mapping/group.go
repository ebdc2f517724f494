package mapping

import (
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
)

const (
	// maxGroup and maxGroupBytes bound a grouped event: more rows, or more data, make several of them. Data is cut so that the
	// default limit of what is sent, 256 KiB, is kept.
	maxGroup      = 10_000
	maxGroupBytes = 240 << 10
	// maxGroupsBytes bounds the data of all grouped events in the making. Beyond it, each is emitted as its next row comes.
	maxGroupsBytes = 4 << 20
)

// groupKey names the rows that may become one event.
type groupKey struct {
	event  *event
	tenant cdc.Key
}

// groupedRows are the rows of one tenant that may become one event.
type groupedRows struct {
	// count is how many there are in the transaction, mapped how many of them have passed through Map.
	count, mapped int
	// items are the data, comma-separated, of the event in the making, inItems how many. index is reserved at the first of them.
	items    []byte
	inItems  int
	index    int
	tooLarge bool // items is one row's data that is larger than a body may be, and not kept
}

// Group counts the rows that grouped events are made of. All changes pass through it between Observe and Map, in the same chunks,
// where Grouping says so: Map must know at the first row of a group whether it becomes one event, which then has the position of
// that row.
func (t *Transaction) Group(changes []cdc.Change) error {
	for i := range changes {
		c := &changes[i]
		if err := t.groupChange(c); err != nil {
			return fmt.Errorf("map %s of %s.%s at %s: %w", c.Op, c.Relation.Schema, c.Relation.Name, t.commit.LSN, err)
		}
	}
	return nil
}

// Grouping reports whether the changes observed may make a grouped event.
func (t *Transaction) Grouping() bool {
	for index, n := range t.candidates {
		if n >= t.m.rules.events[index].group {
			return true
		}
	}
	return false
}

func (t *Transaction) groupChange(c *cdc.Change) error {
	seen, ok, err := t.m.see(c)
	if err != nil || !ok || !t.mayGroup(seen) {
		return err
	}
	matched := t.match(seen)
	if len(matched) == 0 {
		return nil
	}
	var tenant *cdc.Key
	for _, r := range matched {
		if r.event.group == 0 {
			continue
		}
		if tenant == nil {
			of := t.m.tenantOf(t, seen.bound.table, seen.row)
			tenant = &of
		}
		key := groupKey{r.event, *tenant}
		if t.groups == nil {
			t.groups = map[groupKey]*groupedRows{}
		}
		if t.groups[key] == nil {
			t.groups[key] = &groupedRows{}
		}
		t.groups[key].count++
	}
	return nil
}

func (t *Transaction) mayGroup(seen rowChange) bool {
	for _, r := range seen.bound.table.rules[seen.op] {
		if r.event.group > 0 && t.candidates[r.event.index] >= r.event.group {
			return true
		}
	}
	return false
}

// grouped returns the rows that the change belongs to as one of a grouped event, or nil if they are too few.
func (t *Transaction) grouped(r *rule, tenant cdc.Key) *groupedRows {
	if g := t.groups[groupKey{r.event, tenant}]; g != nil && g.count >= r.event.group {
		return g
	}
	return nil
}

// addToGroup adds a row, and emits the events that it completes.
func (t *Transaction) addToGroup(g *groupedRows, r *rule, tenant cdc.Key, seen rowChange, emit func(Event) error) error {
	render := renderer{t: t}
	item := render.data(t.m.item[:0], r.data, seen.bound, seen.row, seen.op == cdc.Delete)
	if t.m.item = item; cap(item) > keptBuffer {
		t.m.item = nil
	}
	if render.err != nil {
		return render.err
	}
	// Where events are cut does not depend on how large a body may be, so that their identities do not either.
	alone := len(item) >= maxGroupBytes
	if g.inItems > 0 && len(g.items)+len(item) >= maxGroupBytes {
		if err := t.emitGroup(g, r, tenant, emit); err != nil {
			return err
		}
	}
	before := len(g.items)
	if g.inItems == 0 {
		g.index = t.reserve()
	} else {
		g.items = append(g.items, ',')
	}
	g.inItems++
	g.mapped++
	if g.tooLarge = render.over(item); !g.tooLarge {
		g.items = append(g.items, item...)
	}
	if t.inGroups += len(g.items) - before; !alone && g.inItems < maxGroup && g.mapped < g.count && t.inGroups < maxGroupsBytes {
		return nil
	}
	return t.emitGroup(g, r, tenant, emit)
}

func (t *Transaction) emitGroup(g *groupedRows, r *rule, tenant cdc.Key, emit func(Event) error) error {
	e := t.event(r, tenant)
	e.Index = g.index
	body := t.head(r, e.Resource)
	body = append(body, '[')
	body = append(body, g.items...)
	body = append(body, ']', '}')
	if render := (renderer{t: t}); !g.tooLarge && !render.over(body) {
		e.Body = t.m.finished(body)
	}
	t.inGroups -= len(g.items)
	g.items, g.inItems, g.tooLarge = g.items[:0], 0, false
	if g.mapped == g.count || cap(g.items) > keptBuffer {
		g.items = nil
	}
	return emit(e)
}
