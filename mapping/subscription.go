package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
)

// Subscription is a webhook that the tables of the IAM define.
type Subscription struct {
	// Key is the key of the webhook's row. Tenant is the tenant that it belongs to; if it is empty, the webhook receives
	// nothing.
	Key, Tenant cdc.Key
	// Name and Description may be empty.
	Name, Description string
	URL, Secret       string
	Headers           map[string]string
	// Events lists the names that the webhook subscribes to, sorted and without duplicates.
	Events []string
}

// WebhookTables returns the IAM's table of webhooks and its table of the event names that they subscribe to; nil if the
// mapping or the database does not have them.
func (m *Mapper) WebhookTables() (webhooks, events *cdc.Table) {
	w := m.rules.webhooks
	if w == nil || m.tables[w.table.index].relation == nil || m.tables[w.events.table.index].relation == nil {
		return nil, nil
	}
	return w.table.cdc, w.events.table.cdc
}

// AffectedWebhooks returns the keys of the webhooks that a change affects, from the old and the new row. Their rows may have
// been deleted.
func (m *Mapper) AffectedWebhooks(c *cdc.Change) []cdc.Key {
	webhooks, events := m.WebhookTables()
	b := m.byCDC[c.Relation.Table]
	switch {
	case webhooks == nil || b == nil || c.Op == cdc.Truncate:
		return nil
	case b.table.cdc == webhooks && c.Moved:
		return []cdc.Key{c.OldKey, c.Key}
	case b.table.cdc == webhooks:
		return []cdc.Key{c.Key}
	case b.table.cdc != events:
		return nil
	}
	var keys []cdc.Key
	for _, row := range []cdc.Row{c.Old, c.New} {
		if v := valueAt(row, m.rules.webhooks.events.by); v.Kind == cdc.Text && !slices.Contains(keys, cdc.Key(v.Text)) {
			keys = append(keys, cdc.Key(v.Text))
		}
	}
	return keys
}

// SubscriptionRefs reports the rows that Subscription needs for a row of the webhooks table: the names of its events, and the
// parents on the path to the tenant. RefsOf reports what these need in turn.
func (m *Mapper) SubscriptionRefs(row cdc.Row, need func(Ref)) {
	w := m.rules.webhooks
	if w == nil {
		return
	}
	m.tenantRefs(w.table, row, need)
	m.collectRefs([]*collect{&w.events}, row, false, need)
}

// SubscriptionParents reports the rows between a row of the webhooks table and its tenant. If one of them is inserted, deleted
// or changed, the webhook may belong to another tenant.
func (m *Mapper) SubscriptionParents(row cdc.Row, rows Rows, need func(Ref)) {
	if w := m.rules.webhooks; w != nil {
		m.subscriptionParents(w.table, row, rows, need)
	}
}

func (m *Mapper) subscriptionParents(t *table, row cdc.Row, rows Rows, need func(Ref)) {
	for _, i := range t.toTenant {
		p := t.parents[i]
		v := valueAt(row, p.column)
		if p.table == m.rules.tenant || v.Kind != cdc.Text || m.tables[p.table.index].relation == nil {
			continue
		}
		key := cdc.Key(v.Text)
		need(Ref{Table: p.table.cdc, Key: key})
		if parentRow := rows.Row(p.table.cdc, key); parentRow != nil {
			m.subscriptionParents(p.table, parentRow, rows, need)
		}
	}
}

// ErrSoftDeleted is the error of Subscription for a row that is marked as deleted.
var ErrSoftDeleted = errors.New("the row is marked as deleted")

// Subscription reads a row of the webhooks table. It returns an error if the row is marked as deleted, has no URL, or has
// headers that are not a JSON object of strings. The error contains the key of the row and no values.
func (m *Mapper) Subscription(row cdc.Row, rows Rows) (Subscription, error) {
	w := m.rules.webhooks
	if w == nil {
		return Subscription{}, fmt.Errorf("read webhook: the mapping has no [webhooks] section")
	}
	key, err := w.table.cdc.KeyOf(row)
	if err != nil {
		return Subscription{}, fmt.Errorf("read webhook: %w", err)
	}
	if m.isSoftDeleted(m.tables[w.table.index], row) {
		return Subscription{}, fmt.Errorf("read webhook %s of %s: %w", key, w.table.name(), ErrSoftDeleted)
	}
	s := Subscription{
		Key: key, Tenant: m.claimedTenant(mirrorLookup{m, rows}, w.table, row),
		URL: textAt(row, w.url), Name: textAt(row, w.name), Description: textAt(row, w.description), Secret: textAt(row, w.secret),
	}
	if s.URL == "" {
		return s, fmt.Errorf("read webhook %s of %s: the URL is empty", key, w.table.name())
	}
	var ok bool
	if s.Headers, ok = parseHeaders(textAt(row, w.headers)); !ok {
		return s, fmt.Errorf("read webhook %s of %s: the headers are not a JSON object of strings", key, w.table.name())
	}
	for _, e := range rows.Children(w.events.table.cdc, w.events.by, key) {
		deleted := m.isSoftDeleted(m.tables[w.events.table.index], e)
		if name := textAt(e, w.events.column); name != "" && !deleted {
			s.Events = append(s.Events, name)
		}
	}
	slices.Sort(s.Events)
	s.Events = slices.Compact(s.Events)
	return s, nil
}

// parseHeaders reads a JSON object of strings. Numbers and booleans are taken as their text, and members that are null are left
// out. An empty text, null and an empty list mean that there are no headers.
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

func textAt(row cdc.Row, column int) string {
	if column < 0 {
		return ""
	}
	return valueAt(row, column).Text
}

// mirrorLookup looks up rows outside a transaction.
type mirrorLookup struct {
	m    *Mapper
	rows Rows
}

func (l mirrorLookup) bound(t *table) *boundTable { return l.m.tables[t.index] }

func (l mirrorLookup) parentRow(t *table, key cdc.Key) cdc.Row { return l.rows.Row(t.cdc, key) }
