package mapping

import (
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// event is one [[events]] entry.
type event struct {
	name   string
	at     position
	index  int
	prefix string // `{"event":"name","timestamp":"`
	// group is how many rows of one tenant and transaction make one event of it; 0 for an event per row.
	group     int
	insteadOf []string
	// toRoot: the root tenant's webhooks hear it too.
	toRoot bool
	rules  []*rule
}

// rule is an event on one table.
type rule struct {
	event    *event
	table    *table
	on       [cdc.Truncate + 1]bool
	changed  []int // nil for the table's payload columns
	when     *condition
	resource int // a column, or tenantResource
	data     shape
	// absorb drops the change if a parent was deleted (for an insert: inserted) in the same transaction.
	absorb    [cdc.Truncate + 1]bool
	hold      *hold
	parents   []int // parents whose rows are needed
	collected []*collect
}

const tenantResource = -1

var (
	eventKeys = []string{
		"name", "table", "on", "changed", "when", "resource_id", "keep_resource_id", "data", "include", "collect", "group",
		"instead_of", "unless_followed", "absorb",
	}
	operations = map[string]cdc.Op{"insert": cdc.Insert, "update": cdc.Update, "delete": cdc.Delete}
)

func (l *loader) loadEvents(document *tomlpos.Node) {
	events := document.Get("events")
	if events == nil || events.Kind != tomlpos.List || len(events.Items) == 0 {
		l.problems.add(document.At, "the mapping has no [[events]]")
		return
	}
	first := map[string]position{}
	for _, source := range events.Items {
		l.decoder.known(source, "events", eventKeys...)
		name := l.decoder.word(source, "name")
		if !name.given() {
			l.problems.add(source.At, "an event has no name")
			continue
		}
		if at, ok := first[name.text]; ok {
			l.problems.add(name.at, "event %q is defined twice: first in %s:%d", name.text, at.File, at.Line)
			continue
		}
		first[name.text] = name.at
		l.rules.events = append(l.rules.events, l.event(source, name))
	}
	l.checkInsteadOf()
}

func (l *loader) event(source *tomlpos.Node, name word) *event {
	e := &event{name: name.text, at: name.at, prefix: `{"event":` + string(appendString(nil, name.text)) + `,"timestamp":"`}
	on := l.operations(source, "on")
	if g := source.Get("group"); g != nil {
		l.decoder.known(g, "group", "min")
		var at position
		if e.group, at = l.decoder.int(g, "min"); e.group < 2 {
			l.problems.add(at, "group.min must be at least 2")
		}
	}
	e.insteadOf = texts(l.decoder.words(source, "instead_of", true))
	if len(e.insteadOf) > 0 && e.group == 0 {
		l.problems.add(source.At, "event %s: instead_of goes with group", e.name)
	}
	tables := l.decoder.words(source, "table", true)
	if len(tables) == 0 {
		l.problems.add(source.At, "event %s has no table", e.name)
	}
	for _, w := range tables {
		if t := l.table(w); t != nil && t.source.Kind == tomlpos.Table {
			e.rules = append(e.rules, l.rule(e, t, source, on))
			e.toRoot = e.toRoot || (t == l.rules.tenant && (on[cdc.Insert] || on[cdc.Delete]))
		}
	}
	return e
}

func (l *loader) operations(source *tomlpos.Node, key string) (on [cdc.Truncate + 1]bool) {
	words := l.decoder.words(source, key, true)
	if len(words) == 0 {
		l.problems.add(source.At, "%s is missing: it is insert, update, delete or a list of them", key)
	}
	for _, w := range words {
		op, ok := operations[w.text]
		if !ok {
			l.problems.add(w.at, "%s = %q%s", key, w.text, suggest(w.text, []string{"insert", "update", "delete"}))
		}
		on[op] = ok
	}
	return on
}

func (l *loader) rule(e *event, t *table, source *tomlpos.Node, on [cdc.Truncate + 1]bool) *rule {
	r := &rule{event: e, table: t, on: on}
	if l.rules.tenant != nil && t.distance >= unreachable {
		l.problems.add(e.at, "event %s: no parents lead from %s to the tenant table %s", e.name, t.name(), l.rules.tenant.name())
	}
	l.loadChanged(r, source)
	if w := l.decoder.word(source, "when"); w.given() {
		r.when = l.condition(w, t, false)
		switch {
		case r.when == nil:
		case on[cdc.Insert] && !on[cdc.Update] && !on[cdc.Delete] && (r.when.usesOld || r.when.usesChanged):
			l.problems.add(w.at, "event %s is only on insert, where there is no old row: its condition uses old or changed", e.name)
		case !on[cdc.Update] && r.when.usesChanged:
			l.problems.add(w.at, "event %s is not on update, so everything counts as changed: its condition uses changed", e.name)
		}
	}
	l.loadResource(r, source)
	r.data = l.shape(r, source)
	r.absorb[cdc.Delete] = true
	if absorb, given := l.decoder.bool(source, "absorb"); given {
		r.absorb[cdc.Insert], r.absorb[cdc.Delete] = absorb, absorb
		switch {
		case !on[cdc.Insert] && !on[cdc.Delete]:
			l.problems.add(source.Get("absorb").At, "event %s is only on update: parents absorb inserts and deletes", e.name)
		case absorb && len(t.parents) == 0:
			l.problems.add(source.Get("absorb").At, "event %s: %s has no parents that could absorb it", e.name, t.name())
		}
	}
	if r.absorb[cdc.Insert] && on[cdc.Insert] {
		for _, p := range t.parents {
			p.table.insertion = true
		}
	}
	if u := source.Get("unless_followed"); u != nil {
		r.hold = l.loadHold(r, u)
	}
	r.needs()
	return r
}

func (l *loader) loadChanged(r *rule, source *tomlpos.Node) {
	for _, w := range l.decoder.words(source, "changed", true) {
		i, ok := l.column(r.table, w)
		if !ok {
			continue
		}
		if i < r.table.cdc.KeyColumns {
			l.problems.add(w.at, "%q is a key column: a new key is a delete and an insert, never an update", w.text)
		}
		r.changed = append(r.changed, i)
	}
	if !r.on[cdc.Update] {
		if c := source.Get("changed"); c != nil {
			l.problems.add(c.At, "event %s is not on update: its changed can never be", r.event.name)
		}
		return
	}
	if c := source.Get("changed"); c != nil {
		if c.Kind == tomlpos.List && len(c.Items) == 0 {
			l.problems.add(c.At, "event %s: changed names no column: leave it out for any", r.event.name)
		}
		return
	}
	for i := r.table.cdc.KeyColumns; i < len(r.table.payload); i++ {
		if r.table.payload[i] {
			return
		}
	}
	l.problems.add(r.event.at, "event %s can never be: %s has no columns whose change is an update", r.event.name, r.table.name())
}

func (l *loader) loadResource(r *rule, source *tomlpos.Node) {
	keep, _ := l.decoder.bool(source, "keep_resource_id")
	w := l.decoder.word(source, "resource_id")
	_, isColumn := r.table.columns[w.text] // a column that is called tenant comes first
	switch {
	case r.event.group > 0:
		r.resource = tenantResource
		if w.given() && w.text != "tenant" {
			l.problems.add(w.at, "event %s is grouped by tenant: its resource_id is \"tenant\"", r.event.name)
		}
	case w.text == "tenant" && !isColumn || (l.rules.resourceTenant && !keep):
		r.resource = tenantResource
	case w.given():
		r.resource, _ = l.visible(r.table, w)
	case r.table.cdc.KeyColumns > 1:
		l.problems.add(r.event.at, "event %s needs a resource_id: the key of %s has %d columns", r.event.name, r.table.name(), r.table.cdc.KeyColumns)
	}
	if w.given() && w.text != "tenant" && r.resource == tenantResource {
		l.column(r.table, w) // It is not used now, and must still be right.
	}
}

// shape reads an event's data: the table's object by default, a list of fields, or a bare value.
func (l *loader) shape(r *rule, source *tomlpos.Node) shape {
	own := l.ownFields(r.table, source)
	byName := maps.Clone(r.table.own)
	for _, f := range own {
		byName[f.name] = f
	}
	data := source.Get("data")
	fields := r.table.object
	if data != nil {
		if text, ok := data.Scalar.(string); ok {
			f, _ := l.field(r.table, word{text, data.At}, byName)
			if f.kind == spliceField {
				l.problems.add(data.At, "data = %q: write [%q] for an object", text, text)
			}
			if len(own) > 0 {
				l.problems.add(data.At, "event %s: a bare value has no room for include or collect", r.event.name)
			}
			return shape{bare: true, fields: []field{f}}
		}
		fields = l.fields(r.table, l.decoder.words(source, "data", false), byName)
	}
	fields = place(fields, own)
	l.uniqueNames(r.table, fields, r.event.at)
	markEmbedded(fields, r.table)
	return shape{fields: fields}
}

// checkInsteadOf finds the events that grouped ones replace.
func (l *loader) checkInsteadOf() {
	names := l.rules.EventNames()
	for _, e := range l.rules.events {
		for _, name := range e.insteadOf {
			i := slices.Index(names, name)
			if i < 0 || name == e.name {
				l.problems.add(e.at, "event %s stands instead_of the unknown event %q%s", e.name, name, suggest(name, names))
				continue
			}
			if !slices.ContainsFunc(l.rules.events[i].rules, func(r *rule) bool { return slices.ContainsFunc(e.rules, r.overlaps) }) {
				l.problems.add(e.at, "event %s stands instead_of %s, which is never of the same change", e.name, name)
			}
		}
	}
}

func (r *rule) overlaps(other *rule) bool {
	return r.table == other.table && r.sharesOperation(other.on)
}

func (r *rule) sharesOperation(other [cdc.Truncate + 1]bool) bool {
	for op, on := range r.on {
		if on && other[op] {
			return true
		}
	}
	return false
}

// needs notes which mirrored rows the rule looks at.
func (r *rule) needs() {
	var need needed
	need.fields(r.data.fields)
	for _, c := range []*condition{r.when, r.holdCondition()} {
		if c != nil {
			need.parents = append(need.parents, c.parents...)
		}
	}
	slices.Sort(need.parents)
	r.parents, r.collected = slices.Compact(need.parents), need.collected
}

type needed struct {
	parents   []int
	collected []*collect
}

func (n *needed) fields(fields []field) {
	for _, f := range fields {
		switch f.kind {
		case parentColumn, spliceField, includeField:
			n.parents = append(n.parents, f.parent)
		case collectField:
			n.collected = append(n.collected, f.collect)
		}
	}
}
