package ingest

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// After any sequence of additions, moves, removals and deletions, events match the same webhooks as if all were loaded again.
func TestSubscriptions_IndexEqualsARebuiltOneAfterChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		subs := newSubscriptions(nil)
		subs.log = slog.New(slog.DiscardHandler)
		tenants := []string{acme, other, "acme", webhook.AllTenants}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			key := fmt.Sprint(rapid.IntRange(1, 6).Draw(t, "key"))
			w := outbox.Webhook{
				Origin: rapid.SampledFrom([]string{outbox.OriginIAM, outbox.OriginConfig}).Draw(t, "origin"), Key: key, Enabled: true,
				Tenant: rapid.SampledFrom(tenants).Draw(t, "tenant"), Events: []string{rapid.SampledFrom([]string{"user.*", "role.created", "*"}).Draw(t, "events")},
			}
			old := subs.live[originKey{w.Origin, key}]
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				if old != nil {
					subs.remove(old, 7)
				}
			case 1:
				removed := slices.DeleteFunc(slices.Collect(maps.Values(subs.byID)), func(w *outbox.Webhook) bool { return w.RemovedAfter == nil })
				if len(removed) > 0 {
					subs.forget([]int64{removed[0].ID})
				}
			default:
				subs.replace(w, 7)
				if old != nil && old.Tenant != w.Tenant && !subs.byID[old.ID].MovedAway() {
					t.Fatalf("webhook %d of %s still gets events after its key has passed to %s", old.ID, old.Tenant, w.Tenant)
				}
			}
			var all []outbox.Webhook
			for _, w := range subs.byID {
				all = append(all, *w)
			}
			fresh := newSubscriptions(all)
			for _, name := range []string{"user.created", "role.created", "client.deleted"} {
				for _, tenant := range []cdc.Key{acme, other} {
					e := mapping.Event{Name: name, Tenant: tenant, TenantName: map[cdc.Key]string{acme: "acme", other: "other"}[tenant]}
					if diff := cmp.Diff(fresh.match(&e), subs.match(&e)); diff != "" {
						t.Fatal(diff)
					}
				}
			}
		}
	})
}

// Adding, changing and removing one webhook costs no more for having many beside it.
func TestSubscriptions_OneChangeAmongMany(t *testing.T) {
	cost := func(many int) float64 {
		var webhooks []outbox.Webhook
		for i := range many {
			webhooks = append(webhooks, outbox.Webhook{ID: int64(i) + 1, Origin: outbox.OriginIAM, Key: fmt.Sprint(i), Tenant: fmt.Sprint(i % 100), Enabled: true, Events: []string{"*"}})
		}
		subs := newSubscriptions(webhooks)
		subs.log = slog.New(slog.DiscardHandler)
		n := 0
		return testing.AllocsPerRun(100, func() {
			n++
			w := outbox.Webhook{Origin: outbox.OriginIAM, Key: "more", Tenant: fmt.Sprint(n % 100), Enabled: true, Events: []string{"*"}}
			subs.forget([]int64{subs.replace(w, 0)[0].ID})
		})
	}
	if few, many := cost(100), cost(20_000); many > few+5 {
		t.Errorf("a change allocates %.0f times among 100 webhooks and %.0f times among 20,000", few, many)
	}
}

func BenchmarkSubscriptions_Add(b *testing.B) {
	subs := newSubscriptions(nil)
	n := 0
	for b.Loop() {
		n++
		subs.replace(outbox.Webhook{Origin: outbox.OriginIAM, Key: fmt.Sprint(n), Tenant: acme, Enabled: true, Events: []string{"*"}}, 0)
	}
}
