package language

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
	"github.com/iam-relay/iam-relay/mapping/value"
)

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
		l.problems.Add(document.At, "the mapping needs an [[events]] section")
		return
	}
	first := map[string]rules.Position{}
	for _, source := range events.Items {
		l.decoder.checkKeys(source, "events", eventKeys...)
		name := l.decoder.word(source, "name")
		if !name.given() {
			l.problems.Add(source.At, "an event needs a name, for example name = \"user.created\"")
			continue
		}
		if at, ok := first[name.text]; ok {
			l.problems.Add(name.at, "event %q is already defined at %s", name.text, at)
			continue
		}
		first[name.text] = name.at
		l.rules.Events = append(l.rules.Events, l.event(source, name))
	}
	l.checkInsteadOf()
}

func (l *loader) event(source *tomlpos.Node, name word) *rules.Event {
	e := &rules.Event{Name: name.text, At: name.at, Prefix: `{"event":` + string(value.AppendString(nil, name.text)) + `,"timestamp":"`}
	on := l.operations(source, "on")
	if g := source.Get("group"); g != nil {
		l.decoder.checkKeys(g, "group", "min")
		var at rules.Position
		if e.Group, at = l.decoder.int(g, "min"); e.Group < 2 {
			l.problems.Add(at, "group.min must be at least 2")
		}
	}
	e.InsteadOf = texts(l.decoder.words(source, "instead_of", true))
	if len(e.InsteadOf) > 0 && e.Group == 0 {
		l.problems.Add(source.At, "event %s: instead_of needs group, for example group = { min = 2 }", e.Name)
	}
	tables := l.decoder.words(source, "table", true)
	if len(tables) == 0 {
		l.problems.Add(source.At, "event %s needs table, the name of a table or a list of names", e.Name)
	}
	for _, w := range tables {
		if t := l.table(w); t != nil && t.Source.Kind == tomlpos.Table {
			e.Rules = append(e.Rules, l.rule(e, t, source, on))
			e.ToRoot = e.ToRoot || (t == l.rules.Tenant && (on[cdc.Insert] || on[cdc.Delete]))
		}
	}
	return e
}

func (l *loader) operations(source *tomlpos.Node, key string) (on [cdc.Truncate + 1]bool) {
	words := l.decoder.words(source, key, true)
	if len(words) == 0 {
		l.problems.Add(source.At, "%s is required: \"insert\", \"update\", \"delete\" or a list of them", key)
	}
	for _, w := range words {
		op, ok := operations[w.text]
		if !ok {
			l.problems.Add(w.at, "%s = %q is not an operation%s", key, w.text, spelling.Suggest(w.text, []string{"insert", "update", "delete"}))
		}
		on[op] = ok
	}
	return on
}

// checkInsteadOf checks the names of the events that grouped events replace.
func (l *loader) checkInsteadOf() {
	names := l.rules.EventNames()
	for _, e := range l.rules.Events {
		for _, name := range e.InsteadOf {
			i := slices.Index(names, name)
			if i < 0 || name == e.Name {
				l.problems.Add(e.At, "event %s: instead_of lists the unknown event %q%s", e.Name, name, spelling.Suggest(name, names))
				continue
			}
			if !slices.ContainsFunc(l.rules.Events[i].Rules, func(r *rules.Rule) bool { return slices.ContainsFunc(e.Rules, r.Overlaps) }) {
				l.problems.Add(e.At, "event %s: instead_of lists %s, which has no table and operation in common with it", e.Name, name)
			}
		}
	}
}
