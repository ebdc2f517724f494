package ingest

import (
	"context"
	"maps"
	"slices"

	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// put adds or replaces the IAM's subscription; it returns what to store. after is the last event of the transaction.
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

// replace puts w in the place of the webhook with its origin and key; it returns what to store. One that was stopped by hand stays
// so, whatever else changes. One that belongs to another tenant than before is a new webhook: what the former tenant's was owed,
// or is still owed after it was removed, must not reach an endpoint that may be the new tenant's.
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
	former := slices.Clone(s.owed[origin])
	if old != nil {
		former = append(former, old)
	}
	for _, f := range former {
		if f.Tenant != w.Tenant {
			changed = append(changed, *s.giveAway(f, after))
		}
	}
	s.lastID++
	w.ID, w.TenantKeys = s.lastID, s.names.holders(w.Tenant)
	s.set(&w)
	return append(changed, w)
}

func (s *subscriptions) giveAway(w *outbox.Webhook, after int64) *outbox.Webhook {
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

// same reports whether a changed subscription is the same one to its receiver. A webhook that the relay disabled stays so
// until something about it changes.
func same(a, b outbox.Webhook) bool {
	return a.Tenant == b.Tenant && a.Name == b.Name && a.Description == b.Description && a.URL == b.URL && maps.Equal(a.Headers, b.Headers) &&
		slices.Equal(a.Secrets, b.Secrets) && slices.Equal(a.Events, b.Events) && a.Options == b.Options && a.Credentials == b.Credentials &&
		a.SwitchedOn() == b.SwitchedOn()
}

// reload takes over what was changed from outside: the definitions of the webhooks made by command, and of all others whether
// they are enabled. Nothing of it is stored: it comes from the store.
func (s *subscriptions) reload(changed []outbox.Webhook) {
	for i := range changed {
		w := changed[i]
		old := s.byID[w.ID]
		switch {
		case old != nil && w.Version < old.Version: // read before what is known
		case w.Origin == outbox.OriginRelay:
			s.set(&w)
		case old != nil:
			state := *old
			state.Enabled, state.DisabledReason, state.Version, state.ResumeCount = w.Enabled, w.DisabledReason, w.Version, w.ResumeCount
			s.set(&state)
		}
	}
}

// remove ends a subscription after the given event: those up to it are still delivered.
func (s *subscriptions) remove(w *outbox.Webhook, after int64) *outbox.Webhook {
	gone := *w
	gone.End(after)
	s.set(&gone)
	return &gone
}

// configured returns what to store so that the webhooks of the configuration are those wanted; webhooks are all that the outbox has.
func Configured(webhooks, want []outbox.Webhook, lastEvent int64) []outbox.Webhook {
	return newSubscriptions(webhooks).configure(want, lastEvent)
}

// configure brings the configured webhooks in line with the configuration; it returns what to store.
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

// reload takes webhooks that were made or changed by hand into the matching of events. Their endpoints come first: an event
// for one that the dispatcher does not know would wait for the next start. What is deleted from the outbox is forgotten here, too.
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
