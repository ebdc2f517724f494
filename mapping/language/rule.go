package language

import (
	"maps"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// rule completes a rule with what a source of its event says.
func (l *loader) rule(r *rules.Rule, source *tomlpos.Node) *rules.Rule {
	if lead := l.noTenant(r.Table); lead != "" {
		l.problems.Add(r.At, "event %s: %s", r.Event.Name, lead)
	}
	l.loadBecomes(r, source)
	l.loadChanged(r, source)
	l.loadWhen(r, source)
	l.loadResource(r, source)
	r.Data = l.loadData(r, source)
	l.loadAbsorb(r, source)
	if u := source.Get("unless_followed"); u != nil {
		r.UnlessFollowed = l.loadUnlessFollowed(r, u)
	}
	l.loadOncePer(r, source)
	r.FindNeededRows()
	return r
}

func (l *loader) loadWhen(r *rules.Rule, source *tomlpos.Node) {
	w := l.decoder.word(source, "when")
	if !w.given() {
		return
	}
	r.When = l.condition(w, r.Table, false)
	switch {
	case r.When == nil:
	case r.On[cdc.Insert] && !r.On[cdc.Update] && !r.On[cdc.Delete] && (r.When.UsesOld || r.When.UsesChanged):
		l.problems.Add(w.at, "event %s is on insert only, where there is no old row; remove old and changed from its condition", r.Event.Name)
	case !r.On[cdc.Update] && r.When.UsesChanged:
		l.problems.Add(w.at, "event %s is not on update, so changed(\"…\") is always true; remove it from the condition", r.Event.Name)
	}
}

func (l *loader) loadAbsorb(r *rules.Rule, source *tomlpos.Node) {
	r.Absorb[cdc.Delete] = true
	if absorb, given := l.decoder.bool(source, "absorb"); given {
		r.Absorb[cdc.Insert], r.Absorb[cdc.Delete] = absorb, absorb
		switch {
		case !r.On[cdc.Insert] && !r.On[cdc.Delete]:
			l.problems.Add(source.Get("absorb").At, "event %s is on update only, and absorb applies to inserts and deletes; remove absorb", r.Event.Name)
		case absorb && len(r.Table.Parents) == 0:
			l.problems.Add(source.Get("absorb").At, "event %s: absorb needs parents, and %s has none; remove absorb", r.Event.Name, r.Table.Name())
		}
	}
	if r.Absorb[cdc.Insert] && r.On[cdc.Insert] {
		for _, p := range r.Table.Parents {
			p.Table.AbsorbsInserts = true
		}
	}
}

// loadOncePer reads once_per, a column: rows of a transaction with the same value in it make one event.
func (l *loader) loadOncePer(r *rules.Rule, source *tomlpos.Node) {
	w := l.decoder.word(source, "once_per")
	if !w.given() {
		return
	}
	if i, ok := l.column(r.Table, w); ok {
		r.OncePer = i
	}
	if r.Event.Group > 0 || r.UnlessFollowed != nil {
		l.problems.Add(w.at, "event %s: once_per cannot be combined with group or unless_followed", r.Event.Name)
	}
}

// loadBecomes reads becomes, a bare condition that must be false before an update and true after it.
func (l *loader) loadBecomes(r *rules.Rule, source *tomlpos.Node) {
	w := l.decoder.word(source, "becomes")
	if !w.given() {
		return
	}
	if r.On[cdc.Insert] || r.On[cdc.Delete] || !r.On[cdc.Update] {
		l.problems.Add(w.at, "event %s: becomes compares the row before and after an update; use on = \"update\" or remove on", r.Event.Name)
	}
	if r.Becomes = l.condition(w, r.Table, true); r.Becomes != nil && source.Get("changed") == nil {
		r.Changed = r.Becomes.Columns
	}
}

func (l *loader) loadChanged(r *rules.Rule, source *tomlpos.Node) {
	for _, w := range l.decoder.words(source, "changed", true) {
		if _, column := r.Table.Columns[w.text]; !column {
			if c := childrenNamed(r.Table, w.text); c != nil {
				r.ChangedChildren = append(r.ChangedChildren, c)
				continue
			}
		}
		i, ok := l.column(r.Table, w)
		if !ok {
			continue
		}
		if i < r.Table.CDC.KeyColumns {
			l.problems.Add(w.at, "%q is a key column; a new key is a delete and an insert, never an update", w.text)
		}
		r.Changed = append(r.Changed, i)
	}
	changed := source.Get("changed")
	if changed != nil && r.Changed == nil {
		r.Changed = []int{} // Only children are named.
	}
	switch {
	case !r.On[cdc.Update]:
		if changed != nil {
			l.problems.Add(changed.At, "event %s is not on update; remove changed", r.Event.Name)
		}
	case changed != nil:
		if changed.Kind == tomlpos.List && len(changed.Items) == 0 {
			l.problems.Add(changed.At, "event %s: changed is empty; list columns, or remove changed for any column", r.Event.Name)
		}
	case r.Changed == nil && !r.Table.WatchesAny() && len(r.Table.Children) == 0:
		l.problems.Add(r.At, "event %s can never occur: %s has no columns or parents, besides its key, whose change is an update", r.Event.Name, r.Table.Name())
	}
}

// loadData reads an event's data: a list of fields, a bare value, or by default the table's object.
func (l *loader) loadData(r *rules.Rule, source *tomlpos.Node) rules.Data {
	declared := l.declaredFields(r.Table, source)
	byName := maps.Clone(r.Table.Declared)
	for _, f := range declared {
		byName[f.Name] = f
	}
	data := source.Get("data")
	fields := r.Table.Object
	if data != nil {
		if text, ok := data.Scalar.(string); ok {
			f, _ := l.field(r.Table, word{text, data.At}, byName)
			if f.Kind == rules.SpliceField {
				l.problems.Add(data.At, "data = %q must be a list: data = [%q]", text, text)
			}
			if len(declared) > 0 {
				l.problems.Add(data.At, "event %s: include and collect need a list as data, not a single value", r.Event.Name)
			}
			return rules.Data{Bare: true, Fields: []rules.Field{f}}
		}
		fields = l.fields(r.Table, l.decoder.words(source, "data", false), byName)
	}
	fields = mergeFields(fields, declared)
	l.checkUniqueNames(r.Table, fields, r.At)
	markEmbedded(fields, r.Table)
	return rules.Data{Fields: fields}
}
