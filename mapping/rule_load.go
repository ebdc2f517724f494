package mapping

import (
	"maps"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// rule reads what an [[events]] entry says for one of its tables.
func (l *loader) rule(e *event, t *table, source *tomlpos.Node, on [cdc.Truncate + 1]bool) *rule {
	r := &rule{event: e, table: t, on: on}
	if l.rules.tenant != nil && t.distance >= unreachable {
		l.problems.add(e.at, "event %s: no parents lead from %s to the tenant table %s; add the foreign keys to parents", e.name, t.name(), l.rules.tenant.name())
	}
	l.loadChanged(r, source)
	l.loadWhen(r, source)
	l.loadResource(r, source)
	r.data = l.loadData(r, source)
	l.loadAbsorb(r, source)
	if u := source.Get("unless_followed"); u != nil {
		r.unlessFollowed = l.loadUnlessFollowed(r, u)
	}
	r.findNeededRows()
	return r
}

func (l *loader) loadWhen(r *rule, source *tomlpos.Node) {
	w := l.decoder.word(source, "when")
	if !w.given() {
		return
	}
	r.when = l.condition(w, r.table, false)
	switch {
	case r.when == nil:
	case r.on[cdc.Insert] && !r.on[cdc.Update] && !r.on[cdc.Delete] && (r.when.usesOld || r.when.usesChanged):
		l.problems.add(w.at, "event %s is on insert only, where there is no old row; remove old and changed from its condition", r.event.name)
	case !r.on[cdc.Update] && r.when.usesChanged:
		l.problems.add(w.at, "event %s is not on update, so changed(\"…\") is always true; remove it from the condition", r.event.name)
	}
}

func (l *loader) loadAbsorb(r *rule, source *tomlpos.Node) {
	r.absorb[cdc.Delete] = true
	if absorb, given := l.decoder.bool(source, "absorb"); given {
		r.absorb[cdc.Insert], r.absorb[cdc.Delete] = absorb, absorb
		switch {
		case !r.on[cdc.Insert] && !r.on[cdc.Delete]:
			l.problems.add(source.Get("absorb").At, "event %s is on update only, and absorb applies to inserts and deletes; remove absorb", r.event.name)
		case absorb && len(r.table.parents) == 0:
			l.problems.add(source.Get("absorb").At, "event %s: absorb needs parents, and %s has none; remove absorb", r.event.name, r.table.name())
		}
	}
	if r.absorb[cdc.Insert] && r.on[cdc.Insert] {
		for _, p := range r.table.parents {
			p.table.absorbsInserts = true
		}
	}
}

func (l *loader) loadChanged(r *rule, source *tomlpos.Node) {
	for _, w := range l.decoder.words(source, "changed", true) {
		i, ok := l.column(r.table, w)
		if !ok {
			continue
		}
		if i < r.table.cdc.KeyColumns {
			l.problems.add(w.at, "%q is a key column; a new key is a delete and an insert, never an update", w.text)
		}
		r.changed = append(r.changed, i)
	}
	changed := source.Get("changed")
	switch {
	case !r.on[cdc.Update]:
		if changed != nil {
			l.problems.add(changed.At, "event %s is not on update; remove changed", r.event.name)
		}
	case changed != nil:
		if changed.Kind == tomlpos.List && len(changed.Items) == 0 {
			l.problems.add(changed.At, "event %s: changed is empty; list columns, or remove changed for any column", r.event.name)
		}
	case !r.table.watchesAny():
		l.problems.add(r.event.at, "event %s can never occur: %s has no columns or parents, besides its key, whose change is an update", r.event.name, r.table.name())
	}
}

func (l *loader) loadResource(r *rule, source *tomlpos.Node) {
	keep, _ := l.decoder.bool(source, "keep_resource_id")
	w := l.decoder.word(source, "resource_id")
	_, isColumn := r.table.columns[w.text] // A column may be called tenant, and then it is meant.
	switch {
	case r.event.group > 0:
		r.resource = tenantResource
		if w.given() && w.text != "tenant" {
			l.problems.add(w.at, "event %s has group, so its resource_id must be \"tenant\"", r.event.name)
		}
	case w.text == "tenant" && !isColumn || (l.rules.resourceTenant && !keep):
		r.resource = tenantResource
	case w.given():
		r.resource, _ = l.payloadColumn(r.table, w)
	case r.table.cdc.KeyColumns > 1:
		l.problems.add(r.event.at, "event %s needs resource_id, because the key of %s has %d columns", r.event.name, r.table.name(), r.table.cdc.KeyColumns)
	}
	if w.given() && w.text != "tenant" && r.resource == tenantResource {
		l.column(r.table, w) // The column is not used, but must exist.
	}
}

// loadData reads an event's data: a list of fields, a bare value, or by default the table's object.
func (l *loader) loadData(r *rule, source *tomlpos.Node) eventData {
	declared := l.declaredFields(r.table, source)
	byName := maps.Clone(r.table.declared)
	for _, f := range declared {
		byName[f.name] = f
	}
	data := source.Get("data")
	fields := r.table.object
	if data != nil {
		if text, ok := data.Scalar.(string); ok {
			f, _ := l.field(r.table, word{text, data.At}, byName)
			if f.kind == spliceField {
				l.problems.add(data.At, "data = %q must be a list: data = [%q]", text, text)
			}
			if len(declared) > 0 {
				l.problems.add(data.At, "event %s: include and collect need a list as data, not a single value", r.event.name)
			}
			return eventData{bare: true, fields: []field{f}}
		}
		fields = l.fields(r.table, l.decoder.words(source, "data", false), byName)
	}
	fields = mergeFields(fields, declared)
	l.checkUniqueNames(r.table, fields, r.event.at)
	markEmbedded(fields, r.table)
	return eventData{fields: fields}
}
