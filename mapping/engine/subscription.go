package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/rules"
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
	w := m.binding.Rules.Webhooks
	if w == nil || m.binding.Tables[w.Table.Index].Relation == nil || m.binding.Tables[w.Events.Table.Index].Relation == nil {
		return nil, nil
	}
	return w.Table.CDC, w.Events.Table.CDC
}

// AffectedWebhooks returns the keys of the webhooks that a change affects, from the old and the new row. Their rows may have
// been deleted.
func (m *Mapper) AffectedWebhooks(c *cdc.Change) []cdc.Key {
	webhooks, events := m.WebhookTables()
	b := m.binding.ByCDC[c.Relation.Table]
	switch {
	case webhooks == nil || b == nil || c.Op == cdc.Truncate:
		return nil
	case b.Table.CDC == webhooks && c.Moved:
		return []cdc.Key{c.OldKey, c.Key}
	case b.Table.CDC == webhooks:
		return []cdc.Key{c.Key}
	case b.Table.CDC != events:
		return nil
	}
	var keys []cdc.Key
	for _, row := range []cdc.Row{c.Old, c.New} {
		if v := rules.ValueAt(row, m.binding.Rules.Webhooks.Events.By); v.Kind == cdc.Text && !slices.Contains(keys, cdc.Key(v.Text)) {
			keys = append(keys, cdc.Key(v.Text))
		}
	}
	return keys
}

// SubscriptionRefs reports the rows that Subscription needs for a row of the webhooks table: the names of its events, and the
// parents on the path to the tenant. RefsOf reports what these need in turn.
func (m *Mapper) SubscriptionRefs(row cdc.Row, need func(Ref)) {
	w := m.binding.Rules.Webhooks
	if w == nil {
		return
	}
	m.tenantRefs(w.Table, row, need)
	m.collectRefs([]*rules.Collect{&w.Events}, row, false, need)
}

// SubscriptionParents reports the rows between a row of the webhooks table and its tenant. If one of them is inserted, deleted
// or changed, the webhook may belong to another tenant.
func (m *Mapper) SubscriptionParents(row cdc.Row, rows Rows, need func(Ref)) {
	if w := m.binding.Rules.Webhooks; w != nil {
		m.subscriptionParents(w.Table, row, rows, need)
	}
}

func (m *Mapper) subscriptionParents(t *rules.Table, row cdc.Row, rows Rows, need func(Ref)) {
	for _, i := range t.ToTenant {
		p := t.Parents[i]
		v := rules.ValueAt(row, p.Column)
		if p.Table == m.binding.Rules.Tenant || v.Kind != cdc.Text || m.binding.Tables[p.Table.Index].Relation == nil {
			continue
		}
		key := cdc.Key(v.Text)
		need(Ref{Table: p.Table.CDC, Key: key})
		if parentRow := rows.Row(p.Table.CDC, key); parentRow != nil {
			m.subscriptionParents(p.Table, parentRow, rows, need)
		}
	}
}

// ErrSoftDeleted is the error of Subscription for a row that is marked as deleted.
var ErrSoftDeleted = errors.New("the row is marked as deleted")

// Subscription reads a row of the webhooks table. It returns an error if the row is marked as deleted, has no URL, or has
// Headers that are not a JSON object of strings. The error contains the key of the row and no values.
func (m *Mapper) Subscription(row cdc.Row, rows Rows) (Subscription, error) {
	w := m.binding.Rules.Webhooks
	if w == nil {
		return Subscription{}, fmt.Errorf("read webhook: the mapping has no [webhooks] section")
	}
	key, err := w.Table.CDC.KeyOf(row)
	if err != nil {
		return Subscription{}, fmt.Errorf("read webhook: %w", err)
	}
	if m.isSoftDeleted(m.binding.Tables[w.Table.Index], row) {
		return Subscription{}, fmt.Errorf("read webhook %s of %s: %w", key, w.Table.Name(), ErrSoftDeleted)
	}
	s := Subscription{
		Key: key, Tenant: m.claimedTenant(rows, w.Table, row),
		URL: textAt(row, w.URL), Name: textAt(row, w.Name), Description: textAt(row, w.Description), Secret: textAt(row, w.Secret),
	}
	if s.URL == "" {
		return s, fmt.Errorf("read webhook %s of %s: the URL is empty", key, w.Table.Name())
	}
	var ok bool
	if s.Headers, ok = parseHeaders(textAt(row, w.Headers)); !ok {
		return s, fmt.Errorf("read webhook %s of %s: the headers are not a JSON object of strings", key, w.Table.Name())
	}
	for _, e := range rows.Children(w.Events.Table.CDC, w.Events.By, key) {
		deleted := m.isSoftDeleted(m.binding.Tables[w.Events.Table.Index], e)
		if name := textAt(e, w.Events.Column); name != "" && !deleted {
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
	return rules.ValueAt(row, column).Text
}
