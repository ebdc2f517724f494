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

// subscriptions are the webhooks as of the transaction being ingested. They belong to the ingest goroutine. A webhook in here is
// never written to: a change puts another one in its place, and costs no more for having many others beside it.
type subscriptions struct {
	byID   map[int64]*outbox.Webhook // until the outbox forgets them
	lastID int64
	roots  map[cdc.Key]bool // tenants whose webhooks also hear of tenants created and deleted
	// fromIAM: the IAM's own webhook tables are read.
	fromIAM bool
	log     *slog.Logger

	live     map[originKey]*outbox.Webhook // of the IAM and of the configuration
	owed     map[originKey][]*outbox.Webhook
	byTenant map[string]webhookList // of the IAM, by tenant key
	others   map[string]webhookList // configured, or made by command, by what they call their tenant
	parents  parents
	names    tenantNames
}

// originKey is what a webhook is called where it comes from. It may be used again, unlike an id.
type originKey struct{ origin, key string }

// webhookList is sorted by id.
type webhookList []*outbox.Webhook

func (l webhookList) find(id int64) (int, bool) {
	return slices.BinarySearchFunc(l, id, func(w *outbox.Webhook, id int64) int { return cmp.Compare(w.ID, id) })
}

func newSubscriptions(webhooks []outbox.Webhook) *subscriptions {
	s := &subscriptions{
		byID: map[int64]*outbox.Webhook{}, roots: map[cdc.Key]bool{}, live: map[originKey]*outbox.Webhook{}, owed: map[originKey][]*outbox.Webhook{},
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

// set puts a webhook in the place of the one with its id.
func (s *subscriptions) set(w *outbox.Webhook) {
	if old := s.byID[w.ID]; old != nil {
		s.unindex(old)
	}
	s.byID[w.ID] = w
	origin := originKey{w.Origin, w.Key}
	if w.RemovedAfter != nil {
		if w.Origin != outbox.OriginRelay && !w.MovedAway() {
			s.owed[origin] = append(s.owed[origin], w)
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

// lists are those that the webhook is in while it is not removed.
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
	if owed := slices.DeleteFunc(s.owed[origin], func(o *outbox.Webhook) bool { return o == w }); len(owed) > 0 {
		s.owed[origin] = owed
	} else {
		delete(s.owed, origin)
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

// match returns the webhooks that an event goes to, in the order of their ids. An event whose tenant is unknown goes nowhere.
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

// matchOperational returns the webhooks that an operational event about another webhook goes to: those of the same tenant,
// and those of all tenants. None hears about itself.
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

// wanted reports whether the webhook asks for the event. One that its owner has switched off asks for nothing; one that the
// relay, or an operator, has disabled goes on collecting.
func wanted(w *outbox.Webhook, event string) bool {
	return w.SwitchedOn() && webhook.Matches(w.Events, event)
}
