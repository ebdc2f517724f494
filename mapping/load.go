package mapping

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Rules are a loaded mapping: checked in itself, and not yet against a database. They are immutable.
type Rules struct {
	schema     string
	tables     []*table
	byName     map[string]*table
	events     []*event
	tenant     *table
	tenantName int // a column of tenant, or -1
	rootTenant *condition
	webhooks   *webhookSource
	// resourceTenant: every resource_id is the tenant's key.
	resourceTenant bool
}

type loader struct {
	rules    *Rules
	problems *problems
	decoder  decoder
}

// decoderQuiet reads again what newTable has read and judged already.
func (l *loader) decoderQuiet() decoder { return decoder{&problems{}} }

var documentKeys = []string{
	"extends", "schema", "tenant", "tenant_name", "root_tenant", "drop", "tables", "events", "webhooks",
}

// Load reads a mapping and checks everything that can be checked without the database. The error, if it is about the
// mapping's content, is an *[Error] with all problems at once, each with file, line and, where something is misspelt, the
// nearest right name.
func Load(o Options) (*Rules, error) {
	document, err := readLayers(o)
	if err != nil {
		return nil, err
	}
	return load(document, o)
}

func load(document *tomlpos.Node, o Options) (*Rules, error) {
	var p problems
	l := &loader{
		rules:    &Rules{schema: "public", byName: map[string]*table{}, tenantName: -1},
		problems: &p, decoder: decoder{&p},
	}
	l.decoder.known(document, "the mapping", documentKeys...)
	if w := l.decoder.word(document, "schema"); w.given() {
		l.rules.schema = w.text
	}
	if o.Schema != "" {
		l.rules.schema = o.Schema
	}
	switch o.ResourceID {
	case "", "row":
	case "tenant":
		l.rules.resourceTenant = true
	default:
		p.add(position{File: optionsFile}, "resource_id %q: it is \"row\" or \"tenant\"%s", o.ResourceID, suggest(o.ResourceID, []string{"row", "tenant"}))
	}
	l.loadTables(document)
	l.loadTenant(document)
	l.loadEvents(document)
	l.dropEvents(document, o.Drop)
	l.loadWebhooks(document)
	if err := p.err(); err != nil {
		return nil, err
	}
	return l.rules, nil
}

func (l *loader) loadTables(document *tomlpos.Node) {
	tables := document.Get("tables")
	if tables == nil || len(tables.Entries) == 0 {
		l.problems.add(document.At, "the mapping has no [tables.…]")
		return
	}
	if !l.decoder.table(tables, "tables") {
		return
	}
	for _, e := range tables.Entries {
		t := l.newTable(e.Key, e.At, e.Value)
		l.rules.tables = append(l.rules.tables, t)
		l.rules.byName[e.Key] = t
	}
	usable := slices.DeleteFunc(slices.Clone(l.rules.tables), func(t *table) bool { return t.source.Kind != tomlpos.Table })
	for _, t := range usable {
		l.linkParents(t)
	}
	for _, t := range usable {
		l.loadFormats(t)
		l.objectOf(t)
	}
	if l.refuseCycles() {
		return
	}
	for _, t := range usable {
		l.uniqueNames(t, t.object, t.at)
		t.deleted = l.condition(l.decoder.word(t.source, "deleted"), t, true)
		markEmbedded(t.object, t)
	}
}

// maxEmbedding bounds the depth of objects within objects.
const maxEmbedding = 8

// refuseCycles reports objects that would contain themselves.
func (l *loader) refuseCycles() bool {
	found := false
	for _, t := range l.rules.tables {
		if reaches(t, t, 0) {
			found = true
			l.problems.add(t.at, "the data of %s contains itself through include, collect or \"….*\"", t.name())
		}
	}
	return found
}

func reaches(from, goal *table, depth int) bool {
	if depth > maxEmbedding {
		return true
	}
	for _, f := range from.object {
		next := f.embeds(from)
		if next != nil && (next == goal || reaches(next, goal, depth+1)) {
			return true
		}
	}
	return false
}

// embeds gives the table whose object the field contains, or nil.
func (f field) embeds(t *table) *table {
	switch {
	case f.kind == spliceField || f.kind == includeField:
		return t.parents[f.parent].table
	case f.kind == collectField && f.collect.column < 0:
		return f.collect.table
	}
	return nil
}

func markEmbedded(fields []field, t *table) {
	for _, f := range fields {
		if next := f.embeds(t); next != nil {
			next.embedded = true
		}
	}
}

func (l *loader) loadTenant(document *tomlpos.Node) {
	w := l.decoder.word(document, "tenant")
	if !w.given() {
		l.problems.add(document.At, "tenant is missing: name the table whose key scopes events and webhooks, for example tenant = \"realms\"")
		return
	}
	t := l.table(w)
	if t == nil {
		return
	}
	if t.cdc.KeyColumns != 1 {
		l.problems.add(w.at, "the tenant table %s must have a key of one column", t.name())
		return
	}
	l.rules.tenant = t
	l.rules.findTenants()
	if name := l.decoder.word(document, "tenant_name"); name.given() {
		if i, ok := l.visible(t, name); ok {
			l.rules.tenantName = i
		}
	}
	l.rules.rootTenant = l.condition(l.decoder.word(document, "root_tenant"), t, true)
}

// dropEvents removes the events that are not wanted.
func (l *loader) dropEvents(document *tomlpos.Node, more []string) {
	drop := l.decoder.words(document, "drop", true)
	for _, name := range more {
		drop = append(drop, word{name, position{File: optionsFile}})
	}
	known := l.rules.EventNames()
	for _, w := range drop {
		if !slices.Contains(known, w.text) {
			l.problems.add(w.at, "drop names the unknown event %q%s", w.text, suggest(w.text, known))
		}
	}
	l.rules.events = slices.DeleteFunc(l.rules.events, func(e *event) bool {
		return slices.ContainsFunc(drop, func(w word) bool { return w.text == e.name })
	})
	for i, e := range l.rules.events {
		e.index = i
		for _, r := range e.rules {
			for op := cdc.Insert; op <= cdc.Delete; op++ {
				if r.on[op] {
					r.table.rules[op] = append(r.table.rules[op], r)
				}
			}
		}
	}
}

// Tables are what must be read of the database, in the order of the mapping. The key columns come first.
func (r *Rules) Tables() []*cdc.Table {
	out := make([]*cdc.Table, len(r.tables))
	for i, t := range r.tables {
		out[i] = t.cdc
	}
	return out
}

// TenantName returns the table of the tenants and the column with what people call them; empty if the mapping names none.
func (r *Rules) TenantName() (table *cdc.Table, column string) {
	if r.tenantName < 0 {
		return r.tenant.cdc, ""
	}
	return r.tenant.cdc, r.tenant.cdc.Columns[r.tenantName].Name
}

// RootEvents are the names of the events that root tenants hear of other tenants.
func (r *Rules) RootEvents() []string {
	var out []string
	for _, e := range r.events {
		if e.toRoot {
			out = append(out, e.name)
		}
	}
	return out
}

// EventNames are the names of all events that can occur, in the order of the mapping.
func (r *Rules) EventNames() []string {
	out := make([]string, len(r.events))
	for i, e := range r.events {
		out[i] = e.name
	}
	return out
}
