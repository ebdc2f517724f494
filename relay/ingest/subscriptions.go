package ingest

import (
	"cmp"
	"log/slog"
	"slices"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// subscriptions holds the webhooks as of the transaction that is being ingested. Only the goroutine of Run uses it. A webhook in it is never
// modified but replaced, at a cost that does not depend on the number of webhooks.
type subscriptions struct {
	byID   map[int64]*outbox.Webhook // until the outbox forgets them
	lastID int64
	roots  map[cdc.Key]bool // tenants whose webhooks also get the creation and deletion of tenants

	fromIAM bool // the IAM's webhook tables are read
	log     *slog.Logger

	live     map[originKey]*outbox.Webhook   // of the IAM and of the configuration
	ended    map[originKey][]*outbox.Webhook // removed, but possibly with undelivered events
	byTenant map[string]webhookList          // of the IAM, by tenant key
	others   map[string]webhookList          // configured or created by command, by the tenant's name or key, or "*"
	parents  parents
	names    tenantNames
}

// originKey identifies a webhook where it is defined. Unlike an id it can be reused.
type originKey struct{ origin, key string }

// webhookList is sorted by id.
type webhookList []*outbox.Webhook

func (l webhookList) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(w *outbox.Webhook, id int64) int { return cmp.Compare(w.ID, id) })
}

func newSubscriptions(webhooks []outbox.Webhook) *subscriptions {
	s := &subscriptions{
		byID: map[int64]*outbox.Webhook{}, roots: map[cdc.Key]bool{}, live: map[originKey]*outbox.Webhook{}, ended: map[originKey][]*outbox.Webhook{},
		byTenant: map[string]webhookList{}, others: map[string]webhookList{}, parents: newParents(), names: tenantNames{}, log: slog.Default(),
	}
	for i := range webhooks {
		s.set(&webhooks[i])
		if webhooks[i].ID < outbox.FirstRelayID {
			s.lastID = max(s.lastID, webhooks[i].ID)
		}
	}
	return s
}

// set adds a webhook, or replaces the one with the same id.
func (s *subscriptions) set(w *outbox.Webhook) {
	if old := s.byID[w.ID]; old != nil {
		s.unindex(old)
	}
	s.byID[w.ID] = w
	origin := originKey{w.Origin, w.Key}
	if w.RemovedAfter != nil {
		if w.Origin != outbox.OriginRelay && !w.MovedAway() {
			s.ended[origin] = append(s.ended[origin], w)
		}
		return
	}
	if w.Origin != outbox.OriginRelay {
		s.live[origin] = w
	}
	lists := s.lists(w)
	list := lists[w.Tenant]
	at, _ := list.find(w.ID)
	lists[w.Tenant] = slices.Insert(list, at, w)
}

// lists returns the index that has the webhook while it is not removed.
func (s *subscriptions) lists(w *outbox.Webhook) map[string]webhookList {
	if w.Origin == outbox.OriginIAM {
		return s.byTenant
	}
	return s.others
}

func (s *subscriptions) unindex(w *outbox.Webhook) {
	origin := originKey{w.Origin, w.Key}
	if s.live[origin] == w {
		delete(s.live, origin)
	}
	if ended := slices.DeleteFunc(s.ended[origin], func(o *outbox.Webhook) bool { return o == w }); len(ended) > 0 {
		s.ended[origin] = ended
	} else {
		delete(s.ended, origin)
	}
	lists := s.lists(w)
	list := lists[w.Tenant]
	if at, ok := list.find(w.ID); ok {
		list = slices.Delete(list, at, at+1)
	}
	if len(list) > 0 {
		lists[w.Tenant] = list
	} else {
		delete(lists, w.Tenant)
	}
}

// forget drops webhooks that the outbox has deleted.
func (s *subscriptions) forget(ids []int64) {
	for _, id := range ids {
		if w := s.byID[id]; w != nil {
			s.unindex(w)
			delete(s.byID, id)
		}
	}
}

// match returns the sorted ids of the webhooks that get an event; none if the event's tenant is unknown.
func (s *subscriptions) match(e *mapping.Event) []int64 {
	ids := []int64{}
	if e.Tenant == "" {
		return ids
	}
	add := func(webhooks webhookList) {
		for _, w := range webhooks {
			if wanted(w, e.Name) {
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
	add(s.others[webhook.AllTenants])
	add(s.others[string(e.Tenant)])
	if e.TenantName != string(e.Tenant) && webhook.IsTenantName(e.TenantName) {
		add(s.others[e.TenantName])
	}
	slices.Sort(ids)
	return ids
}

// matchOperational returns the sorted ids of the webhooks that get an operational event about a webhook: others of the same tenant, and those
// of all tenants.
func (s *subscriptions) matchOperational(name string, about *outbox.Webhook) []int64 {
	ids := []int64{}
	add := func(webhooks webhookList) {
		for _, w := range webhooks {
			if w.ID != about.ID && w.SwitchedOn() && delivery.AsksForOperational(w.Events, name) {
				ids = append(ids, w.ID)
			}
		}
	}
	add(s.byTenant[about.Tenant])
	add(s.others[about.Tenant])
	if about.Tenant != webhook.AllTenants {
		add(s.others[webhook.AllTenants])
	}
	slices.Sort(ids)
	return ids
}

// wanted reports whether the webhook gets the event. One that its owner has switched off gets none; one that the relay or an operator has
// disabled still accumulates events.
func wanted(w *outbox.Webhook, event string) bool {
	return w.SwitchedOn() && webhook.Matches(w.Events, event)
}
