package mapping

import "github.com/iam-relay/iam-relay/mapping/tomlpos"

// webhookSource is the [webhooks] section. A column that the section does not name is -1.
type webhookSource struct {
	table                                   *table
	url, name, description, headers, secret int
	events                                  collect
}

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
		l.problems.add(source.At, "webhooks needs table, the table that holds the webhooks")
		return
	}
	w := &webhookSource{table: l.table(name)}
	if w.table == nil {
		return
	}
	if w.table.distance >= unreachable && l.rules.tenant != nil {
		l.problems.add(name.at, "no parents lead from %s to the tenant table %s; add the foreign keys to parents", w.table.name(), l.rules.tenant.name())
	}
	if w.table.cdc.KeyColumns != 1 {
		l.problems.add(name.at, "the key of the webhooks table %s must have one column; it has %d", w.table.name(), w.table.cdc.KeyColumns)
	}
	l.loadWebhookColumns(w, source)
	if events := l.loadWebhookEvents(source); events != nil {
		events.setParent(w.table)
		w.events = *events
		l.rules.webhooks = w
	}
}

func (l *loader) loadWebhookColumns(w *webhookSource, source *tomlpos.Node) {
	column := func(key string, secret bool) int {
		if c := l.decoder.word(source, key); c.given() {
			if i, ok := l.column(w.table, c); ok {
				if secret && !w.table.secret[i] {
					l.problems.add(c.at, "webhooks.%s: list %q under secrets of %s, so that it cannot become part of a payload", key, c.text, w.table.name())
				}
				return i
			}
		}
		return -1
	}
	w.url, w.name, w.description = column("url", false), column("name", false), column("description", false)
	w.headers, w.secret = column("headers", true), column("secret", true)
	for _, i := range []int{w.url, w.headers, w.secret} { // A URL may contain a token.
		if i >= w.table.cdc.KeyColumns {
			w.table.cdc.Columns[i].Secret = true
		}
	}
	if source.Get("url") == nil {
		l.problems.add(source.At, "webhooks needs url, the column that holds the URL")
	}
}

func (l *loader) loadWebhookEvents(source *tomlpos.Node) *collect {
	events := source.Get("events")
	if events == nil {
		l.problems.add(source.At, "webhooks needs events, for example { table = \"webhook_events\", column = \"name\", by = \"webhook_id\" }")
		return nil
	}
	l.decoder.checkKeys(events, "webhooks.events", "table", "column", "by")
	if events.Kind != tomlpos.Table {
		return nil
	}
	c := l.collect(events, "webhooks.events")
	if c != nil && c.column < 0 {
		l.problems.add(events.At, "webhooks.events needs column, the column that holds the name of an event")
	}
	return c
}
