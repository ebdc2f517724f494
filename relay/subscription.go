package relay

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// everyTenant is the tenant of a configured webhook that hears all tenants.
const everyTenant = webhook.AllTenants

// subscriptions are the webhooks as of the transaction being ingested. They belong to the ingest goroutine.
type subscriptions struct {
	byID   map[int64]*outbox.Webhook
	lastID int64
	roots  map[cdc.Key]bool // tenants whose webhooks also hear of tenants created and deleted
	// fromIAM: the IAM's own webhook tables are read.
	fromIAM bool
	log     *slog.Logger

	iam      map[string]*outbox.Webhook   // by key of the IAM's row
	byTenant map[string][]*outbox.Webhook // of the IAM, by tenant key
	others   []*outbox.Webhook            // configured, or made by hand
	wants    map[wanted]bool              // memory of pattern matching
}

type wanted struct {
	webhook int64
	event   string
}

func newSubscriptions(webhooks []outbox.Webhook) *subscriptions {
	s := &subscriptions{byID: map[int64]*outbox.Webhook{}, roots: map[cdc.Key]bool{}}
	for i := range webhooks {
		s.byID[webhooks[i].ID] = &webhooks[i]
		if webhooks[i].ID < outbox.FirstRelayID {
			s.lastID = max(s.lastID, webhooks[i].ID)
		}
	}
	s.index()
	return s
}

func (s *subscriptions) index() {
	s.iam, s.byTenant, s.others, s.wants = map[string]*outbox.Webhook{}, map[string][]*outbox.Webhook{}, nil, map[wanted]bool{}
	for _, id := range slices.Sorted(maps.Keys(s.byID)) {
		w := s.byID[id]
		if w.RemovedAfter != nil {
			continue
		}
		if w.Origin == outbox.OriginIAM {
			s.iam[w.Key] = w
			s.byTenant[w.Tenant] = append(s.byTenant[w.Tenant], w)
		} else {
			s.others = append(s.others, w)
		}
	}
}

// match returns the webhooks that an event goes to, in the order of their ids. An event whose tenant is unknown goes nowhere.
func (s *subscriptions) match(e *mapping.Event) []int64 {
	ids := []int64{}
	if e.Tenant == "" {
		return ids
	}
	add := func(webhooks []*outbox.Webhook) {
		for _, w := range webhooks {
			if s.wanted(w, e.Name) {
				ids = append(ids, w.ID)
			}
		}
	}
	add(s.byTenant[string(e.Tenant)])
	if e.ToRoot {
		for root := range s.roots {
			if root != e.Tenant {
				add(s.byTenant[string(root)])
			}
		}
	}
	for _, w := range s.others {
		if hears(w.Tenant, e) && s.wanted(w, e.Name) {
			ids = append(ids, w.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// matchOperational returns the webhooks that an operational event about another webhook goes to: those of the same tenant,
// and those of all tenants. None hears about itself.
func (s *subscriptions) matchOperational(name string, about *outbox.Webhook) []int64 {
	ids := []int64{}
	for id, w := range s.byID {
		if id == about.ID || w.RemovedAfter != nil || !w.Enabled && w.DisabledFor == "" {
			continue
		}
		if (w.Tenant == about.Tenant || w.Tenant == everyTenant && w.Origin != outbox.OriginIAM) && asksForOperational(w.Events, name) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// hears reports whether the tenant of a webhook that is not the IAM's is the event's, by key or by name. A tenant that is written as a UUID
// is a key and never a name: whoever may name a tenant could otherwise name it after another's key.
func hears(tenant string, e *mapping.Event) bool {
	return tenant == everyTenant || tenant == string(e.Tenant) || (tenant == e.TenantName && !uuidShape.MatchString(tenant))
}

var uuidShape = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (s *subscriptions) wanted(w *outbox.Webhook, event string) bool {
	if !w.SwitchedOn() {
		return false // switched off by its owner; one that the relay disabled, or somebody by hand, goes on collecting
	}
	key := wanted{w.ID, event}
	yes, known := s.wants[key]
	if !known {
		yes = webhook.Matches(w.Events, event)
		s.wants[key] = yes
	}
	return yes
}

// put adds or replaces the IAM's subscription; it returns what to store, or nil if nothing changed.
func (s *subscriptions) put(sub mapping.Subscription) *outbox.Webhook {
	w := outbox.Webhook{
		Origin: outbox.OriginIAM, Key: string(sub.Key), Tenant: string(sub.Tenant), Name: sub.Name, Description: sub.Description,
		URL: sub.URL, Headers: sub.Headers, Secrets: secrets(sub.Secret), Events: sub.Events, Enabled: true, Options: "{}",
	}
	return s.replace(s.iam[w.Key], w)
}

func secrets(one string) []string {
	if one == "" {
		return nil
	}
	return []string{one}
}

// replace stores w over the subscription it succeeds, or as a new one where that is nil. One that was stopped by hand stays so,
// whatever else changes.
func (s *subscriptions) replace(old *outbox.Webhook, w outbox.Webhook) *outbox.Webhook {
	if old == nil {
		s.lastID++
		w.ID = s.lastID
	} else {
		w.ID, w.Cursor, w.Version = old.ID, old.Cursor, old.Version
		if old.StoppedByHand() && w.Enabled {
			w.Enabled, w.DisabledFor = false, old.DisabledFor
		}
		if same(*old, w) {
			return nil
		}
	}
	s.byID[w.ID] = &w
	s.index()
	return &w
}

// same reports whether a changed subscription is the same one to its receiver. A webhook that the relay disabled stays so
// until something about it changes.
func same(a, b outbox.Webhook) bool {
	return a.Tenant == b.Tenant && a.Name == b.Name && a.Description == b.Description && a.URL == b.URL && maps.Equal(a.Headers, b.Headers) &&
		slices.Equal(a.Secrets, b.Secrets) && slices.Equal(a.Events, b.Events) && a.Options == b.Options && a.Credentials == b.Credentials &&
		a.SwitchedOn() == b.SwitchedOn()
}

// reload takes over what was changed from outside: the definitions of the webhooks made by hand, and of all others whether
// they are enabled. Nothing of it is stored: it comes from the store.
func (s *subscriptions) reload(changed []outbox.Webhook) {
	for i := range changed {
		w := changed[i]
		old := s.byID[w.ID]
		switch {
		case old != nil && w.Version < old.Version: // read before what is known
		case w.Origin == outbox.OriginRelay:
			s.byID[w.ID] = &w
		case old != nil:
			state := *old
			state.Enabled, state.DisabledFor, state.Version = w.Enabled, w.DisabledFor, w.Version
			s.byID[w.ID] = &state
		}
	}
	s.index()
}

// remove ends a subscription after the given event: those up to it are still delivered.
func (s *subscriptions) remove(w *outbox.Webhook, after int64) *outbox.Webhook {
	gone := *w
	gone.RemovedAfter = &after
	s.byID[w.ID] = &gone
	s.index()
	return &gone
}

// configure brings the configured webhooks in line with the configuration; it returns what to store.
func (s *subscriptions) configure(want []outbox.Webhook, lastEvent int64) []outbox.Webhook {
	old := map[string]*outbox.Webhook{}
	for _, w := range s.others {
		if w.Origin == outbox.OriginConfig {
			old[w.Key] = w
		}
	}
	var changed []outbox.Webhook
	for _, w := range want {
		if stored := s.replace(old[w.Key], w); stored != nil {
			changed = append(changed, *stored)
		}
		delete(old, w.Key)
	}
	for _, w := range old {
		changed = append(changed, *s.remove(w, lastEvent))
	}
	return changed
}

// follow applies a transaction's changes to the IAM's subscriptions, after it is visible in the mirror; it returns what to
// store. lastEvent is the transaction's last event.
func (s *subscriptions) follow(m *mapping.Mapper, changes []cdc.Change, mirror *outbox.Mirror, lastEvent int64) []outbox.Webhook {
	if !s.fromIAM {
		return nil
	}
	table, _ := m.WebhookTables()
	var changed []outbox.Webhook
	seen := map[cdc.Key]bool{}
	for i := range changes {
		for _, key := range m.SubscriptionOf(&changes[i]) {
			if seen[key] {
				continue
			}
			seen[key] = true
			if w := s.refresh(m, mirror, key, mirror.Row(table, key), lastEvent); w != nil {
				changed = append(changed, *w)
			}
		}
	}
	return changed
}

// refresh brings one subscription in line with its row, nil if it is gone. A row that is no usable webhook subscribes to
// nothing: whoever may write webhooks must not be able to stop the relay.
func (s *subscriptions) refresh(m *mapping.Mapper, mirror *outbox.Mirror, key cdc.Key, row cdc.Row, lastEvent int64) *outbox.Webhook {
	old := s.iam[string(key)]
	if row != nil {
		sub, err := m.Subscription(row, mirror)
		if err == nil {
			return s.put(sub)
		}
		if !errors.Is(err, mapping.ErrDeleted) {
			s.log.Warn("a webhook of the IAM cannot be used", "webhook", string(key), "err", err)
		}
	}
	if old == nil {
		return nil
	}
	return s.remove(old, lastEvent)
}

// read brings the subscriptions in line with the whole mirror: after a first copy, and after a change of the mapping. It
// returns what to store.
func (s *subscriptions) read(ctx context.Context, m *mapping.Mapper, mirror *outbox.Mirror, lastEvent int64) ([]outbox.Webhook, error) {
	mirror.Begin(ctx)
	err := mirror.EachRow(ctx, m.Tenant(), func(key cdc.Key, row cdc.Row) error {
		if m.IsRootTenant(row) {
			s.roots[key] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	gone := maps.Clone(s.iam)
	var changed []outbox.Webhook
	if table, _ := m.WebhookTables(); table != nil && s.fromIAM {
		err := mirror.EachRow(ctx, table, func(key cdc.Key, row cdc.Row) error {
			delete(gone, string(key))
			if w := s.refresh(m, mirror, key, row, lastEvent); w != nil {
				changed = append(changed, *w)
			}
			return mirror.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	for _, w := range gone {
		changed = append(changed, *s.remove(w, lastEvent))
	}
	return changed, nil
}

// followRoots keeps the set of root tenants.
func (s *subscriptions) followRoots(m *mapping.Mapper, changes []cdc.Change) {
	for i := range changes {
		c := &changes[i]
		if c.Relation.Table != m.Tenant() {
			continue
		}
		delete(s.roots, c.Key)
		if c.Op != cdc.Delete && m.IsRootTenant(c.New) {
			s.roots[c.Key] = true
		}
	}
}
