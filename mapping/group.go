package mapping

import (
	"bytes"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
)

// maxGroup bounds a grouped event: more rows than this make several of them. A mebibyte of body is about 25,000 uuids.
const maxGroup = 10_000

// groupedRows are the rows of one tenant that may become one event.
type groupedRows struct {
	rule   *rule // of the first row; other rows may be of another table
	tenant cdc.Key
	count  int
	// items are the rows' data, comma-separated.
	items    []byte
	inItems  int
	withheld []withheld
}

// withheld is a single event that waits for what becomes of the groups that stand for it.
type withheld struct {
	event  Event
	groups []*groupedRows
}

func decided(groups []*groupedRows) bool { return slices.ContainsFunc(groups, (*groupedRows).decided) }

// decided: there are enough rows, so that the single events are not wanted.
func (g *groupedRows) decided() bool { return g.count >= g.rule.event.group }

func (t *Transaction) group(r *rule, tenant cdc.Key) *groupedRows {
	for _, g := range t.groups {
		if g.rule.event == r.event && g.tenant == tenant {
			return g
		}
	}
	g := &groupedRows{rule: r, tenant: tenant}
	t.groups = append(t.groups, g)
	return g
}

func (t *Transaction) addToGroup(g *groupedRows, r *rule, seen rowChange, emit func(Event) error) error {
	if g.inItems == maxGroup {
		if err := t.emitGroup(g, emit); err != nil {
			return err
		}
	}
	g.count++
	if g.decided() {
		g.withheld = nil
	}
	if g.inItems > 0 {
		g.items = append(g.items, ',')
	}
	g.inItems++
	render := renderer{t: t}
	g.items = render.data(g.items, r.data, seen.bound, seen.row, seen.op == cdc.Delete)
	return render.err
}

func (t *Transaction) emitGroup(g *groupedRows, emit func(Event) error) error {
	e := t.event(g.rule, g.tenant)
	body := t.head(g.rule, e.Resource)
	body = append(body, '[')
	body = append(body, g.items...)
	t.m.body = append(body, ']', '}')
	e.Body = bytes.Clone(t.m.body)
	g.items, g.inItems = g.items[:0], 0
	return t.emit(e, emit)
}

// Finish emits the grouped events, in the order of their first rows, or the single events of groups that stayed too small.
func (t *Transaction) Finish(emit func(Event) error) error {
	for _, g := range t.groups {
		if g.decided() {
			if err := t.emitGroup(g, emit); err != nil {
				return err
			}
			continue
		}
		for _, w := range g.withheld {
			if decided(w.groups) {
				continue
			}
			if err := t.emit(w.event, emit); err != nil {
				return err
			}
		}
	}
	t.groups = nil
	return nil
}
