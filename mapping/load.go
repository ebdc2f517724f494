package mapping

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Rules are a loaded mapping. They are checked in themselves but not yet against a database. Rules are immutable.
type Rules struct {
	schema     string
	tables     []*table
	byName     map[string]*table
	events     []*event
	tenant     *table
	tenantName int // a column of tenant, or -1
	rootTenant *condition
	webhooks   *webhookSource
	// resourceTenant is set if the resource_id of every event is the tenant's key.
	resourceTenant bool
}

type loader struct {
	rules    *Rules
	problems *problems
	decoder  decoder
}

// silentDecoder reads values again whose problems were already reported.
func (l *loader) silentDecoder() decoder { return decoder{&problems{}} }

var documentKeys = []string{
	"extends", "schema", "tenant", "tenant_name", "root_tenant", "drop", "tables", "events", "webhooks",
}

// Load reads a mapping and checks everything that can be checked without the database. If the content of the mapping is not
// valid, the error is an *[Error] with all problems, each with file, line and, for a misspelt name, the nearest known one.
func Load(o Options) (*Rules, error) {
	document, err := readDocument(o)
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
	l.decoder.checkKeys(document, "the mapping", documentKeys...)
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
		p.addOption("resource_id", `is %q; it must be "row" or "tenant"`, o.ResourceID)
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
		l.problems.add(document.At, "the mapping needs a [tables.NAME] section")
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
		l.loadObject(t)
	}
	if l.refuseCycles() {
		return
	}
	for _, t := range usable {
		l.checkUniqueNames(t, t.object, t.at)
		t.deleted = l.condition(l.decoder.word(t.source, "deleted"), t, true)
		markEmbedded(t.object, t)
	}
}

// dropEvents removes the events that the mapping or the configuration drops, and registers the rules of the others with
// their tables.
func (l *loader) dropEvents(document *tomlpos.Node, more []string) {
	drop := l.decoder.words(document, "drop", true)
	known := l.rules.EventNames()
	for _, name := range more {
		if !slices.Contains(known, name) {
			l.problems.addOption("drop", "lists the unknown event %q%s", name, suggest(name, known))
		}
	}
	for _, w := range drop {
		if !slices.Contains(known, w.text) {
			l.problems.add(w.at, "drop lists the unknown event %q%s", w.text, suggest(w.text, known))
		}
	}
	l.rules.events = slices.DeleteFunc(l.rules.events, func(e *event) bool {
		return slices.Contains(more, e.name) || slices.ContainsFunc(drop, func(w word) bool { return w.text == e.name })
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

// Tables returns the tables and columns to read from the database, in the order of the mapping. The key columns come first.
func (r *Rules) Tables() []*cdc.Table {
	out := make([]*cdc.Table, len(r.tables))
	for i, t := range r.tables {
		out[i] = t.cdc
	}
	return out
}

// RootEvents returns the names of the events of other tenants that go to root tenants too.
func (r *Rules) RootEvents() []string {
	var out []string
	for _, e := range r.events {
		if e.toRoot {
			out = append(out, e.name)
		}
	}
	return out
}

// EventNames returns the names of all events, in the order of the mapping, without dropped ones.
func (r *Rules) EventNames() []string {
	out := make([]string, len(r.events))
	for i, e := range r.events {
		out[i] = e.name
	}
	return out
}
