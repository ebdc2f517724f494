// Package language reads mapping files: TOML to checked rules. It reports every mistake with file, line and, for a misspelt
// name, the nearest known one.
package language

import (
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/spelling"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

type loader struct {
	rules    *rules.Set
	problems *rules.Problems
	decoder  decoder
}

// silentDecoder reads values again whose problems were already reported.
func (l *loader) silentDecoder() decoder { return decoder{&rules.Problems{}} }

var documentKeys = []string{
	"extends", "schema", "tenant", "tenant_name", "root_tenant", "drop", "tables", "webhooks",
}

// Load reads a mapping and checks everything that can be checked without the database. If the content of the mapping is not
// valid, the error is an *[Error] with all problems, each with file, line and, for a misspelt name, the nearest known one.
func Load(o Options) (*rules.Set, error) {
	document, err := readDocument(o)
	if err != nil {
		return nil, err
	}
	return load(document, o)
}

func load(document *tomlpos.Node, o Options) (*rules.Set, error) {
	var p rules.Problems
	l := &loader{
		rules:    &rules.Set{Schema: "public", ByName: map[string]*rules.Table{}, TenantName: -1},
		problems: &p, decoder: decoder{&p},
	}
	l.decoder.checkKeys(document, "the mapping", documentKeys...)
	if w := l.decoder.word(document, "schema"); w.given() {
		l.rules.Schema = w.text
	}
	if o.Schema != "" {
		l.rules.Schema = o.Schema
	}
	switch o.ResourceID {
	case "", "row":
	case "tenant":
		l.rules.ResourceTenant = true
	default:
		p.AddOption("resource_id", `is %q; it must be "row" or "tenant"`, o.ResourceID)
	}
	l.loadTables(document)
	l.loadTenant(document)
	l.loadEvents(document)
	l.dropEvents(document, o.Drop)
	l.loadWebhooks(document)
	if err := p.Err(); err != nil {
		return nil, err
	}
	return l.rules, nil
}

func (l *loader) loadTables(document *tomlpos.Node) {
	tables := document.Get("tables")
	if tables == nil || len(tables.Entries) == 0 {
		l.problems.Add(document.At, "the mapping needs a [tables.NAME] section")
		return
	}
	if !l.decoder.table(tables, "tables") {
		return
	}
	for _, e := range tables.Entries {
		t := l.newTable(e.Key, e.At, e.Value)
		if i := slices.IndexFunc(l.rules.Mapped, func(o *rules.Table) bool { return o.Name() == t.Name() }); i >= 0 {
			l.problems.Add(e.At, "tables of the same name in several schemas cannot be mapped together: %s is also mapped at %s", t.Name(), l.rules.Mapped[i].At)
		}
		l.rules.Mapped = append(l.rules.Mapped, t)
		l.rules.ByName[e.Key] = t
	}
	usable := slices.DeleteFunc(slices.Clone(l.rules.Mapped), func(t *rules.Table) bool { return t.Source.Kind != tomlpos.Table })
	for _, t := range usable {
		l.linkParents(t)
	}
	for _, t := range usable {
		l.loadFormats(t)
		l.loadObject(t)
	}
	l.refuseNestedChildren()
	if l.refuseCycles() {
		return
	}
	for _, t := range usable {
		l.checkUniqueNames(t, t.Object, t.At)
		t.Deleted = l.condition(l.decoder.word(t.Source, "deleted"), t, true)
		markEmbedded(t.Object, t)
	}
}

// dropEvents removes the events that the mapping or the configuration drops, and registers the rules of the others with
// their tables.
func (l *loader) dropEvents(document *tomlpos.Node, more []string) {
	drop := l.decoder.words(document, "drop", true)
	known := l.rules.EventNames()
	for _, name := range more {
		if !slices.Contains(known, name) {
			l.problems.AddOption("drop", "lists the unknown event %q%s", name, spelling.Suggest(name, known))
		}
	}
	for _, w := range drop {
		if !slices.Contains(known, w.text) {
			l.problems.Add(w.at, "drop lists the unknown event %q%s", w.text, spelling.Suggest(w.text, known))
		}
	}
	l.rules.Events = slices.DeleteFunc(l.rules.Events, func(e *rules.Event) bool {
		return slices.Contains(more, e.Name) || slices.ContainsFunc(drop, func(w word) bool { return w.text == e.Name })
	})
	for i, e := range l.rules.Events {
		e.Index = i
		for _, r := range e.Rules {
			for op := cdc.Insert; op <= cdc.Delete; op++ {
				if r.On[op] {
					r.Table.Rules[op] = append(r.Table.Rules[op], r)
				}
			}
		}
	}
}
