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
	sourceKeys = []string{
		"on", "changed", "becomes", "when", "resource_id", "keep_resource_id", "data", "include", "collect", "group", "instead_of", "once_per", "unless_followed", "absorb",
	}
	operations = map[string]cdc.Op{"insert": cdc.Insert, "update": cdc.Update, "delete": cdc.Delete}
)

// loadEvents reads the events of all tables, in the order of the file. An event may have several sources: in several tables,
// or in one table as a list.
func (l *loader) loadEvents(document *tomlpos.Node) {
	sources := 0
	for _, t := range l.rules.Mapped {
		events := t.Source.Get("events")
		if events == nil || !l.decoder.table(events, "events") {
			continue
		}
		for _, e := range events.Entries {
			for _, source := range l.eventSources(e) {
				sources++
				l.eventSource(l.event(e.Key, e.At), t, e.At, source)
			}
		}
	}
	if sources == 0 && document.Get("tables") != nil {
		l.problems.Add(document.At, `the mapping makes no events; add a section such as [tables.NAME.events] with "user.created" = "insert"`)
	}
	l.checkInsteadOf()
}

// event returns the event of that name. The position is that of its first source.
func (l *loader) event(name string, at rules.Position) *rules.Event {
	if i := slices.IndexFunc(l.rules.Events, func(e *rules.Event) bool { return e.Name == name }); i >= 0 {
		return l.rules.Events[i]
	}
	if name == "" {
		l.problems.Add(at, "an event needs a name, for example \"user.created\"")
	}
	e := &rules.Event{Name: name, At: at, Prefix: `{"event":` + string(value.AppendString(nil, name)) + `,"timestamp":"`}
	l.rules.Events = append(l.rules.Events, e)
	return e
}

// eventSources returns the tables that an entry of [tables.NAME.events] stands for: "insert" and ["insert", "delete"] are
// short for { on = … }, a list of tables means several sources, and false none.
func (l *loader) eventSources(e tomlpos.Entry) []*tomlpos.Node {
	short := func(on *tomlpos.Node) *tomlpos.Node {
		return &tomlpos.Node{At: e.At, Kind: tomlpos.Table, Entries: []tomlpos.Entry{{Key: "on", At: on.At, Value: on}}}
	}
	n := e.Value
	switch {
	case n.Kind == tomlpos.Table:
		return []*tomlpos.Node{n}
	case n.Kind == tomlpos.List && len(n.Items) > 0 && n.Items[0].Kind == tomlpos.Table:
		for _, item := range n.Items {
			if item.Kind != tomlpos.Table {
				l.problems.Add(item.At, "event %s: each source must be a table, for example { on = \"insert\" }", e.Key)
				return nil
			}
		}
		return n.Items
	case n.Scalar == false:
		return nil
	}
	if _, word := n.Scalar.(string); !word && n.Kind != tomlpos.List {
		l.problems.Add(n.At, "event %s must be an operation such as \"insert\", a list of them, or a table such as { on = \"insert\" }; false removes it", e.Key)
		return nil
	}
	return []*tomlpos.Node{short(n)}
}

// eventSource reads one source of an event.
func (l *loader) eventSource(e *rules.Event, t *rules.Table, at rules.Position, source *tomlpos.Node) {
	l.decoder.checkKeys(source, "event "+e.Name, sourceKeys...)
	var on [cdc.Truncate + 1]bool
	if source.Get("on") == nil && (source.Get("changed") != nil || source.Get("becomes") != nil) {
		on[cdc.Update] = true
	} else {
		on = l.operations(source, "on")
	}
	group := l.group(source)
	switch {
	case len(e.Rules) == 0:
		e.Group = group
	case e.Group != group:
		l.problems.Add(at, "event %s: all sources must have the same group; another is at %s", e.Name, e.Rules[0].At)
	}
	insteadOf := texts(l.decoder.words(source, "instead_of", true))
	if len(insteadOf) > 0 && group == 0 {
		l.problems.Add(at, "event %s: instead_of needs group, for example group = { min = 2 }", e.Name)
	}
	for _, name := range insteadOf {
		if !slices.Contains(e.InsteadOf, name) {
			e.InsteadOf = append(e.InsteadOf, name)
		}
	}
	e.Rules = append(e.Rules, l.rule(&rules.Rule{Event: e, At: at, Table: t, On: on, OncePer: -1}, source))
	e.ToRoot = e.ToRoot || (t == l.rules.Tenant && (on[cdc.Insert] || on[cdc.Delete]))
}

// group reads group = { min = 2 }. It is 0 without one.
func (l *loader) group(source *tomlpos.Node) int {
	g := source.Get("group")
	if g == nil {
		return 0
	}
	l.decoder.checkKeys(g, "group", "min")
	least, at := l.decoder.int(g, "min")
	if least < 2 {
		l.problems.Add(at, "group.min must be at least 2")
	}
	return least
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
