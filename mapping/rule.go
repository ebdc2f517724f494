package mapping

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// event is an [[events]] entry.
type event struct {
	name   string
	at     position
	index  int
	prefix string // `{"event":"name","timestamp":"`
	// group is the number of rows of one tenant and transaction from which on they make one event; 0 for one event per row.
	group     int
	insteadOf []string
	// toRoot is set if webhooks of root tenants receive the event too.
	toRoot bool
	rules  []*rule
}

// rule is an event on one table.
type rule struct {
	event    *event
	table    *table
	on       [cdc.Truncate + 1]bool
	changed  []int // nil for the watched columns of the table
	when     *condition
	resource int // a column, or tenantResource
	data     eventData
	// absorb is set for the operations that cause no event if a parent was deleted (inserted) in the same transaction.
	absorb         [cdc.Truncate + 1]bool
	unlessFollowed *unlessFollowed
	parents        []int // whose rows are needed, as indexes into the table's parents
	collected      []*collect
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
		l.problems.add(document.At, "the mapping needs an [[events]] section")
		return
	}
	first := map[string]position{}
	for _, source := range events.Items {
		l.decoder.checkKeys(source, "events", eventKeys...)
		name := l.decoder.word(source, "name")
		if !name.given() {
			l.problems.add(source.At, "an event needs a name, for example name = \"user.created\"")
			continue
		}
		if at, ok := first[name.text]; ok {
			l.problems.add(name.at, "event %q is already defined at %s", name.text, at)
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
		l.decoder.checkKeys(g, "group", "min")
		var at position
		if e.group, at = l.decoder.int(g, "min"); e.group < 2 {
			l.problems.add(at, "group.min must be at least 2")
		}
	}
	e.insteadOf = texts(l.decoder.words(source, "instead_of", true))
	if len(e.insteadOf) > 0 && e.group == 0 {
		l.problems.add(source.At, "event %s: instead_of needs group, for example group = { min = 2 }", e.name)
	}
	tables := l.decoder.words(source, "table", true)
	if len(tables) == 0 {
		l.problems.add(source.At, "event %s needs table, the name of a table or a list of names", e.name)
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
		l.problems.add(source.At, "%s is required: \"insert\", \"update\", \"delete\" or a list of them", key)
	}
	for _, w := range words {
		op, ok := operations[w.text]
		if !ok {
			l.problems.add(w.at, "%s = %q is not an operation%s", key, w.text, suggest(w.text, []string{"insert", "update", "delete"}))
		}
		on[op] = ok
	}
	return on
}

// checkInsteadOf checks the names of the events that grouped events replace.
func (l *loader) checkInsteadOf() {
	names := l.rules.EventNames()
	for _, e := range l.rules.events {
		for _, name := range e.insteadOf {
			i := slices.Index(names, name)
			if i < 0 || name == e.name {
				l.problems.add(e.at, "event %s: instead_of lists the unknown event %q%s", e.name, name, suggest(name, names))
				continue
			}
			if !slices.ContainsFunc(l.rules.events[i].rules, func(r *rule) bool { return slices.ContainsFunc(e.rules, r.overlaps) }) {
				l.problems.add(e.at, "event %s: instead_of lists %s, which has no table and operation in common with it", e.name, name)
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

// findNeededRows records which mirrored rows the rule uses.
func (r *rule) findNeededRows() {
	var needed neededRows
	needed.addFields(r.data.fields)
	for _, c := range []*condition{r.when, r.delayCondition()} {
		if c != nil {
			needed.parents = append(needed.parents, c.parents...)
		}
	}
	slices.Sort(needed.parents)
	r.parents, r.collected = slices.Compact(needed.parents), needed.collected
}
