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

// tenantNames are the tenants that have the names by which webhooks call theirs. A name may be given up by one tenant and taken by
// another: what a webhook was owed of the former must then not be sent to it any more. So each such webhook carries the keys of
// the tenants that have its name, or, while none has it, of those that had it last.
type tenantNames map[string]map[cdc.Key]bool

// begin starts over with the names that webhooks use.
func (n tenantNames) begin(others map[string]webhookList) {
	clear(n)
	for name := range others {
		n.use(name)
	}
}

func (n tenantNames) use(name string) {
	if webhook.IsTenantName(name) && n[name] == nil {
		n[name] = map[cdc.Key]bool{}
	}
}

// add notes that a tenant has a name. A name that no webhook uses is not remembered.
func (n tenantNames) add(name string, tenant cdc.Key) {
	if holders := n[name]; holders != nil {
		holders[tenant] = true
	}
}

func (n tenantNames) all() []string { return slices.Collect(maps.Keys(n)) }

// holders are the tenants that have the name, sorted; nil if none has, or it is no name.
func (n tenantNames) holders(name string) []string {
	var keys []string
	for key := range n[name] {
		keys = append(keys, string(key))
	}
	slices.Sort(keys)
	return keys
}

// followNames notes which tenants get and lose names; it returns the webhooks that this concerns.
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
		for known, holders := range s.names { // as many as webhooks name tenants by name, and tenants seldom change
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

// renamed brings the webhooks that use the names in line with who has them.
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

// findTenants looks for the tenants of webhooks that were made by command and name their tenant by a name that none did before.
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
