package ingest

import (
	"context"
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// put adds or replaces a subscription of the IAM. It returns the webhooks to store. after is the id of the transaction's last event.
func (s *subscriptions) put(sub mapping.Subscription, after int64) []outbox.Webhook {
	return s.replace(outbox.Webhook{
		Origin: outbox.OriginIAM, Key: string(sub.Key), Tenant: string(sub.Tenant), Name: sub.Name, Description: sub.Description,
		URL: sub.URL, Headers: sub.Headers, Secrets: secrets(sub.Secret), Events: sub.Events, Enabled: true, Options: "{}",
	}, after)
}

func secrets(one string) []string {
	if one == "" {
		return nil
	}
	return []string{one}
}

// replace replaces the webhook with the same origin and key by w, or adds w. It returns the webhooks to store. A webhook that was disabled
// manually stays disabled. A webhook that changes its tenant becomes a new one, because undelivered events of the previous tenant must not
// reach an endpoint that may be the new tenant's; this includes previous webhooks that are removed and still have undelivered events.
func (s *subscriptions) replace(w outbox.Webhook, after int64) []outbox.Webhook {
	origin := originKey{w.Origin, w.Key}
	old := s.live[origin]
	if old != nil && old.DisabledManually() && w.Enabled {
		w.Enabled, w.DisabledReason = false, old.DisabledReason
	}
	if old != nil && old.Tenant == w.Tenant {
		w.ID, w.Cursor, w.Version, w.ResumeCount, w.TenantKeys = old.ID, old.Cursor, old.Version, old.ResumeCount, old.TenantKeys
		if same(*old, w) {
			return nil
		}
		s.set(&w)
		return []outbox.Webhook{w}
	}
	var changed []outbox.Webhook
	previous := slices.Clone(s.ended[origin])
	if old != nil {
		previous = append(previous, old)
	}
	for _, p := range previous {
		if p.Tenant != w.Tenant {
			changed = append(changed, *s.moveAway(p, after))
		}
	}
	s.lastID++
	w.ID, w.TenantKeys = s.lastID, s.names.holders(w.Tenant)
	s.set(&w)
	return append(changed, w)
}

// moveAway ends a webhook whose origin and key now belong to another tenant; it gets no further deliveries.
func (s *subscriptions) moveAway(w *outbox.Webhook, after int64) *outbox.Webhook {
	gone := *w
	gone.MoveAway(after)
	s.set(&gone)
	s.log.Warn("webhook moved to another tenant; dropping what it had not delivered of the previous tenant's events", "webhook", nameOf(w), "id", w.ID, "tenant", w.Tenant)
	return &gone
}

func nameOf(w *outbox.Webhook) string {
	if w.Name != "" {
		return w.Name
	}
	return w.Origin + ":" + w.Key
}

// same reports whether nothing about a webhook has changed that its owner defines. A webhook that the relay disabled stays disabled until
// something about it changes.
func same(a, b outbox.Webhook) bool {
	return a.Tenant == b.Tenant && a.Name == b.Name && a.Description == b.Description && a.URL == b.URL && maps.Equal(a.Headers, b.Headers) &&
		slices.Equal(a.Secrets, b.Secrets) && slices.Equal(a.Events, b.Events) && a.Options == b.Options && a.Credentials == b.Credentials &&
		a.SwitchedOn() == b.SwitchedOn()
}

// reload adopts changes that commands and other relays have stored: the definitions of webhooks created by command, and whether any other
// webhook is enabled.
func (s *subscriptions) reload(changed []outbox.Webhook) {
	for i := range changed {
		w := changed[i]
		old := s.byID[w.ID]
		switch {
		case old != nil && w.Version < old.Version: // older than the known version
		case w.Origin == outbox.OriginRelay:
			s.set(&w)
		case old != nil:
			state := *old
			state.Enabled, state.DisabledReason, state.Version, state.ResumeCount = w.Enabled, w.DisabledReason, w.Version, w.ResumeCount
			s.set(&state)
		}
	}
}

// remove ends a webhook: events up to the given id are still delivered. It returns the webhook to store.
func (s *subscriptions) remove(w *outbox.Webhook, after int64) *outbox.Webhook {
	gone := *w
	gone.End(after)
	s.set(&gone)
	return &gone
}

// Configured returns the webhooks to store so that the configured ones are those wanted. webhooks are all that the outbox has, lastEvent is
// the id of the newest event.
func Configured(webhooks, want []outbox.Webhook, lastEvent int64) []outbox.Webhook {
	return newSubscriptions(webhooks).configure(want, lastEvent)
}

// configure makes the configured webhooks those wanted. It returns the webhooks to store.
func (s *subscriptions) configure(want []outbox.Webhook, lastEvent int64) []outbox.Webhook {
	gone := map[string]*outbox.Webhook{}
	for origin, w := range s.live {
		if origin.origin == outbox.OriginConfig {
			gone[origin.key] = w
		}
	}
	var changed []outbox.Webhook
	for _, w := range want {
		changed = append(changed, s.replace(w, lastEvent)...)
		delete(gone, w.Key)
	}
	for _, w := range gone {
		changed = append(changed, *s.remove(w, lastEvent))
	}
	return changed
}

// reload adopts webhooks that were created or changed by command, and drops those that were deleted from the outbox. The dispatcher gets
// them first: it would not deliver an event for an endpoint that it does not know.
func (in *Ingester) reload(ctx context.Context) error {
	in.subs.forget(in.Dispatcher.TakeForgotten())
	changed, err := in.Store.ChangedWebhooks(ctx, &in.changes)
	if err != nil || len(changed) == 0 {
		return err
	}
	in.Dispatcher.Update(changed)
	in.subs.reload(changed)
	return in.findTenants(ctx, changed)
}
