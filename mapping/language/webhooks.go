package language

import (
	"github.com/iam-relay/iam-relay/mapping/rules"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

func (l *loader) loadWebhooks(document *tomlpos.Node) {
	source := document.Get("webhooks")
	if source == nil {
		return
	}
	l.decoder.checkKeys(source, "webhooks", "table", "url", "name", "description", "headers", "secret", "events")
	if source.Kind != tomlpos.Table {
		return
	}
	name := l.decoder.word(source, "table")
	if !name.given() {
		l.problems.Add(source.At, "webhooks needs table, the table that holds the webhooks")
		return
	}
	w := &rules.WebhookSource{Table: l.table(name)}
	if w.Table == nil {
		return
	}
	if lead := l.noTenant(w.Table); lead != "" {
		l.problems.Add(name.at, "%s", lead)
	}
	if w.Table.CDC.KeyColumns != 1 {
		l.problems.Add(name.at, "the key of the webhooks table %s must have one column; it has %d", w.Table.Name(), w.Table.CDC.KeyColumns)
	}
	l.loadWebhookColumns(w, source)
	if events := l.loadWebhookEvents(source); events != nil {
		events.SetParent(w.Table)
		w.Events = *events
		l.rules.Webhooks = w
	}
}

func (l *loader) loadWebhookColumns(w *rules.WebhookSource, source *tomlpos.Node) {
	column := func(key string, secret bool) int {
		if c := l.decoder.word(source, key); c.given() {
			if i, ok := l.column(w.Table, c); ok {
				if secret && !w.Table.Secret[i] {
					l.problems.Add(c.at, "webhooks.%s: list %q under secrets of %s, so that it cannot become part of a payload", key, c.text, w.Table.Name())
				}
				return i
			}
		}
		return -1
	}
	w.URL, w.Name, w.Description = column("url", false), column("name", false), column("description", false)
	w.Headers, w.Secret = column("headers", true), column("secret", true)
	for _, i := range []int{w.URL, w.Headers, w.Secret} { // A URL may contain a token.
		if i >= w.Table.CDC.KeyColumns {
			w.Table.CDC.Columns[i].Secret = true
		}
	}
	if source.Get("url") == nil {
		l.problems.Add(source.At, "webhooks needs url, the column that holds the URL")
	}
}

func (l *loader) loadWebhookEvents(source *tomlpos.Node) *rules.Collect {
	events := source.Get("events")
	if events == nil {
		l.problems.Add(source.At, "webhooks needs events, for example { table = \"webhook_events\", column = \"name\", by = \"webhook_id\" }")
		return nil
	}
	l.decoder.checkKeys(events, "webhooks.events", "table", "column", "by")
	if events.Kind != tomlpos.Table {
		return nil
	}
	c := l.collect(events, "webhooks.events")
	if c != nil && c.Column < 0 {
		l.problems.Add(events.At, "webhooks.events needs column, the column that holds the name of an event")
	}
	return c
}
