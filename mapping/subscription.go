package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/tomlpos"
)

// Subscription is a webhook that the IAM's own tables define.
type Subscription struct {
	// Key is the webhook row's key, Tenant the tenant that it belongs to. A subscription whose tenant is empty hears nothing.
	Key, Tenant cdc.Key
	// Name and Description may be empty.
	Name, Description string
	URL, Secret       string
	Headers           map[string]string
	// Events are the names that it subscribes to, sorted, without duplicates.
	Events []string
}

// webhookSource is the [webhooks] section. Columns that the mapping does not name are -1.
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
	l.decoder.known(source, "webhooks", "table", "url", "name", "description", "headers", "secret", "events")
	if source.Kind != tomlpos.Table {
		return
	}
	w := &webhookSource{}
	name := l.decoder.word(source, "table")
	if !name.given() {
		l.problems.add(source.At, "webhooks needs a table")
		return
	}
	if w.table = l.table(name); w.table == nil {
		return
	}
	if w.table.distance >= unreachable && l.rules.tenant != nil {
		l.problems.add(name.at, "no parents lead from %s to the tenant table", w.table.name())
	}
	if w.table.cdc.KeyColumns != 1 {
		l.problems.add(name.at, "the key of %s must have one column", w.table.name())
	}
	column := func(key string, secret bool) int {
		if c := l.decoder.word(source, key); c.given() {
			if i, ok := l.column(w.table, c); ok {
				if secret && !w.table.secret[i] {
					l.problems.add(c.at, "webhooks.%s: name %q under secrets of %s, so that it is never sent", key, c.text, w.table.name())
				}
				return i
			}
		}
		return -1
	}
	w.url, w.name, w.description = column("url", false), column("name", false), column("description", false)
	w.headers, w.secret = column("headers", true), column("secret", true)
	for _, i := range []int{w.url, w.headers, w.secret} { // a URL may hold a token
		if i >= w.table.cdc.KeyColumns {
			w.table.cdc.Columns[i].Secret = true
		}
	}
	if source.Get("url") == nil {
		l.problems.add(source.At, "webhooks needs url, the column that holds the endpoint")
	}
	events := source.Get("events")
	if events == nil {
		l.problems.add(source.At, "webhooks needs events: { table = \"…\", column = \"…\", by = \"…\" }")
		return
	}
	l.decoder.known(events, "webhooks.events", "table", "column", "by")
	if events.Kind != tomlpos.Table {
		return
	}
	c := l.collect(events, "webhooks.events")
	if c == nil {
		return
	}
	if c.column < 0 {
		l.problems.add(events.At, "webhooks.events needs column, which holds the event's name")
	}
	c.refersTo(w.table)
	w.events = *c
	l.rules.webhooks = w
}

// WebhookTables are the IAM's tables of webhooks and of the event names that they subscribe to; nil if the mapping or the
// database has none.
func (m *Mapper) WebhookTables() (webhooks, events *cdc.Table) {
	w := m.rules.webhooks
	if w == nil || m.tables[w.table.index].relation == nil || m.tables[w.events.table.index].relation == nil {
		return nil, nil
	}
	return w.table.cdc, w.events.table.cdc
}

// WebhookBy is the column of the events table that holds the webhook's key, as an index into its Columns.
func (m *Mapper) WebhookBy() int {
	if m.rules.webhooks == nil {
		return 0
	}
	return m.rules.webhooks.events.by
}

// SubscriptionOf gives the keys of the webhooks that a change concerns, of the old and of the new row. They may be gone.
func (m *Mapper) SubscriptionOf(c *cdc.Change) []cdc.Key {
	webhooks, events := m.WebhookTables()
	b := m.byCDC[c.Relation.Table]
	switch {
	case webhooks == nil || b == nil || c.Op == cdc.Truncate:
		return nil
	case b.table.cdc == webhooks && c.Moved:
		return []cdc.Key{c.From, c.Key}
	case b.table.cdc == webhooks:
		return []cdc.Key{c.Key}
	case b.table.cdc != events:
		return nil
	}
	var keys []cdc.Key
	for _, row := range []cdc.Row{c.Old, c.New} {
		if v := at(row, m.rules.webhooks.events.by); v.Kind == cdc.Text && !slices.Contains(keys, cdc.Key(v.Text)) {
			keys = append(keys, cdc.Key(v.Text))
		}
	}
	return keys
}

// SubscriptionRefs names the rows that Subscription needs for a row of the webhooks table: its event names, and the parents on
// the way to the tenant, for which RefsOf says what they need in turn.
func (m *Mapper) SubscriptionRefs(row cdc.Row, need func(Ref)) {
	w := m.rules.webhooks
	if w == nil {
		return
	}
	m.tenantRefs(w.table, row, need)
	m.collectRefs([]*collect{&w.events}, row, false, need)
}

// SubscriptionParents names the rows through which a row of the webhooks table belongs to its tenant, but for the tenant itself. Where
// one of them comes, goes or moves, the webhook may belong to another tenant.
func (m *Mapper) SubscriptionParents(row cdc.Row, rows Rows, need func(Ref)) {
	if w := m.rules.webhooks; w != nil {
		m.parentsOf(w.table, row, rows, need)
	}
}

func (m *Mapper) parentsOf(t *table, row cdc.Row, rows Rows, need func(Ref)) {
	for _, i := range t.toTenant {
		p := t.parents[i]
		v := at(row, p.column)
		if p.table == m.rules.tenant || v.Kind != cdc.Text || m.tables[p.table.index].relation == nil {
			continue
		}
		key := cdc.Key(v.Text)
		need(Ref{Table: p.table.cdc, Key: key})
		if up := rows.Row(p.table.cdc, key); up != nil {
			m.parentsOf(p.table, up, rows, need)
		}
	}
}

// ErrDeleted is what Subscription says of a webhook that is deleted softly.
var ErrDeleted = errors.New("it is deleted")

// Subscription reads a row of the webhooks table. It is an error if it is deleted softly, has no url, or headers that are no
// JSON object of strings; the error names the row and no value.
func (m *Mapper) Subscription(row cdc.Row, rows Rows) (Subscription, error) {
	w := m.rules.webhooks
	if w == nil {
		return Subscription{}, fmt.Errorf("read webhook: the mapping has no [webhooks]")
	}
	key, err := w.table.cdc.KeyOf(row)
	if err != nil {
		return Subscription{}, fmt.Errorf("read webhook: %w", err)
	}
	if m.gone(m.tables[w.table.index], row) {
		return Subscription{}, fmt.Errorf("read webhook %s of %s: %w", key, w.table.name(), ErrDeleted)
	}
	s := Subscription{
		Key: key, Tenant: m.claimedTenant(mirrorOnly{m, rows}, w.table, row),
		URL: text(row, w.url), Name: text(row, w.name), Description: text(row, w.description), Secret: text(row, w.secret),
	}
	if s.URL == "" {
		return s, fmt.Errorf("read webhook %s of %s: it has no url", key, w.table.name())
	}
	var ok bool
	if s.Headers, ok = parseHeaders(text(row, w.headers)); !ok {
		return s, fmt.Errorf("read webhook %s of %s: its headers are not a JSON object of strings", key, w.table.name())
	}
	for _, e := range rows.Children(w.events.table.cdc, w.events.by, key) {
		gone := m.gone(m.tables[w.events.table.index], e)
		if name := text(e, w.events.column); name != "" && !gone {
			s.Events = append(s.Events, name)
		}
	}
	slices.Sort(s.Events)
	s.Events = slices.Compact(s.Events)
	return s, nil
}

// parseHeaders reads a JSON object of strings; numbers and booleans count as their text, null as absent. An empty text, null
// and an empty list stand for no headers.
func parseHeaders(source string) (map[string]string, bool) {
	switch strings.TrimSpace(source) {
	case "", "null", "[]":
		return nil, true
	}
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(source), &values) != nil {
		return nil, false
	}
	headers := make(map[string]string, len(values))
	for name, raw := range values {
		switch value := string(raw); {
		case raw[0] == '"':
			var text string
			if json.Unmarshal(raw, &text) != nil {
				return nil, false
			}
			headers[name] = text
		case raw[0] == '{' || raw[0] == '[':
			return nil, false
		case value != "null":
			headers[name] = value
		}
	}
	return headers, true
}

func text(row cdc.Row, column int) string {
	if column < 0 {
		return ""
	}
	return at(row, column).Text
}

// mirrorOnly looks rows up outside a transaction.
type mirrorOnly struct {
	m    *Mapper
	rows Rows
}

func (l mirrorOnly) bound(t *table) *boundTable { return l.m.tables[t.index] }

func (l mirrorOnly) parentRow(t *table, key cdc.Key) cdc.Row { return l.rows.Row(t.cdc, key) }
