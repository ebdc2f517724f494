package ingest

import (
	"context"
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// tenantNames maps each tenant name that a webhook uses to the keys of the tenants with that name. A name can pass from one tenant to
// another, and then undelivered events of the previous tenant must not be sent any more. So such a webhook is stored with the keys of the
// tenants that have its name, or, while none has, of those that had it last.
type tenantNames map[string]map[cdc.Key]bool

// begin resets the map to the names that webhooks use, without tenants.
func (n tenantNames) begin(others map[string]webhookList) {
	clear(n)
	for name := range others {
		n.use(name)
	}
}

// use starts to track a name. It ignores tenant keys and "*".
func (n tenantNames) use(name string) {
	if webhook.IsTenantName(name) && n[name] == nil {
		n[name] = map[cdc.Key]bool{}
	}
}

// add adds a tenant to a name, if the name is tracked.
func (n tenantNames) add(name string, tenant cdc.Key) {
	if holders := n[name]; holders != nil {
		holders[tenant] = true
	}
}

func (n tenantNames) all() []string { return slices.Collect(maps.Keys(n)) }

// holders returns the sorted keys of the tenants with the name; nil if there are none or it is not tracked.
func (n tenantNames) holders(name string) []string {
	var keys []string
	for key := range n[name] {
		keys = append(keys, string(key))
	}
	slices.Sort(keys)
	return keys
}

// followNames updates the map from a transaction's changes. It returns the webhooks to store.
func (s *subscriptions) followNames(m *mapping.Mapper, changes []cdc.Change) []outbox.Webhook {
	if len(s.names) == 0 {
		return nil
	}
	var touched []string
	for i := range changes {
		c := &changes[i]
		if c.Relation.Table != m.Tenant() {
			continue
		}
		name := ""
		if c.Op != cdc.Delete {
			name = m.TenantName(c.New)
		}
		for known, holders := range s.names { // few names are tracked, and tenants seldom change
			if known != name && (holders[c.Key] || holders[c.OldKey]) {
				delete(holders, c.Key)
				delete(holders, c.OldKey)
				touched = append(touched, known)
			}
		}
		if holders := s.names[name]; holders != nil && !holders[c.Key] {
			holders[c.Key] = true
			touched = append(touched, name)
		}
	}
	slices.Sort(touched)
	return s.renamed(slices.Compact(touched))
}

// renamed updates the tenant keys of the webhooks that use the names. It returns the webhooks to store.
func (s *subscriptions) renamed(names []string) []outbox.Webhook {
	var changed []outbox.Webhook
	for _, name := range names {
		holders := s.names.holders(name)
		if len(holders) == 0 {
			continue
		}
		for _, w := range slices.Clone(s.others[name]) {
			if slices.Equal(w.TenantKeys, holders) {
				continue
			}
			now := *w
			now.TenantKeys = holders
			s.set(&now)
			changed = append(changed, now)
		}
	}
	return changed
}

// findTenants looks up the tenants of webhooks that were created by command and use a tenant name that no other webhook uses.
func (in *Ingester) findTenants(ctx context.Context, changed []outbox.Webhook) error {
	table, column := in.TenantNames.Table, in.TenantNames.Column
	if column == "" {
		return nil
	}
	var found []string
	for i := range changed {
		name := changed[i].Tenant
		if changed[i].RemovedAfter != nil || changed[i].Origin == outbox.OriginIAM || !webhook.IsTenantName(name) {
			continue
		}
		if in.subs.names[name] == nil {
			keys, err := in.Store.TenantsNamed(ctx, table, column, name)
			if err != nil {
				return err
			}
			in.subs.names.use(name)
			for _, key := range keys {
				in.subs.names.add(name, cdc.Key(key))
			}
		}
		found = append(found, name)
	}
	webhooks := in.subs.renamed(found)
	if err := in.Leader.SaveWebhooks(ctx, webhooks); err != nil {
		return err
	}
	in.Dispatcher.Update(webhooks)
	return nil
}
