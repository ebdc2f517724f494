package ingest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	acme   = "0198c0de-0000-7000-8000-0000000000a1"
	other  = "0198c0de-0000-7000-8000-0000000000a2"
	master = "0198c0de-0000-7000-8000-0000000000a0"
)

func TestSubscriptions_Match(t *testing.T) {
	t.Parallel()
	gone := int64(9)
	subs := newSubscriptions([]outbox.Webhook{
		{ID: 1, Origin: outbox.OriginIAM, Key: "a", Tenant: acme, Events: []string{"user.created", "realm.deleted"}, Enabled: true},
		{ID: 2, Origin: outbox.OriginIAM, Key: "b", Tenant: other, Events: []string{"user.created"}, Enabled: true},
		{ID: 3, Origin: outbox.OriginIAM, Key: "c", Tenant: master, Events: []string{"realm.deleted", "user.created"}, Enabled: true},
		{ID: 4, Origin: outbox.OriginConfig, Key: "all", Tenant: "*", Events: []string{"user.*"}, Enabled: true},
		{ID: 5, Origin: outbox.OriginConfig, Key: "by name", Tenant: "acme", Events: []string{"*"}, Enabled: true},
		{ID: 6, Origin: outbox.OriginConfig, Key: "by key", Tenant: other, Events: []string{"*"}, Enabled: true},
		{ID: 7, Origin: outbox.OriginConfig, Key: "off", Tenant: "*", Events: []string{"*"}},
		{ID: 8, Origin: outbox.OriginConfig, Key: "answered 410", Tenant: "*", Events: []string{"user.created"}, DisabledReason: "410"},
		{ID: 9, Origin: outbox.OriginConfig, Key: "gone", Tenant: "*", Events: []string{"*"}, Enabled: true, RemovedAfter: &gone},
		{ID: 10, Origin: outbox.OriginIAM, Key: "d", Tenant: "acme", Events: []string{"user.created"}, Enabled: true},
	})
	subs.roots[master] = true
	for _, test := range []struct {
		name  string
		event mapping.Event
		want  []int64
	}{
		{"of its realm only", mapping.Event{Name: "user.created", Tenant: acme, TenantName: "acme"}, []int64{1, 4, 5, 8}},
		{"of another realm", mapping.Event{Name: "user.created", Tenant: other, TenantName: "other"}, []int64{2, 4, 6, 8}},
		{"no webhook subscribes", mapping.Event{Name: "client.created", Tenant: master, TenantName: "master"}, []int64{}},
		{"to the root too", mapping.Event{Name: "realm.deleted", Tenant: acme, TenantName: "acme", ToRoot: true}, []int64{1, 3, 5}},
		{"the realm is not known", mapping.Event{Name: "user.created"}, []int64{}},
		{"a realm named after another's key", mapping.Event{Name: "role.created", Tenant: acme, TenantName: other}, []int64{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, subs.match(&test.event)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSubscriptions_Configure(t *testing.T) {
	t.Parallel()
	subs := newSubscriptions([]outbox.Webhook{
		{ID: 1, Origin: outbox.OriginConfig, Key: "same", Tenant: "*", URL: "https://a.example", Enabled: true},
		{ID: 2, Origin: outbox.OriginConfig, Key: "moved", Tenant: "*", URL: "https://b.example", Enabled: true},
		{ID: 3, Origin: outbox.OriginConfig, Key: "dropped", Tenant: "*", URL: "https://c.example", Enabled: true},
		{ID: 4, Origin: outbox.OriginConfig, Key: "answered 410", Tenant: "*", URL: "https://d.example", DisabledReason: "410"},
	})
	changed := subs.configure([]outbox.Webhook{
		{Origin: outbox.OriginConfig, Key: "same", Tenant: "*", URL: "https://a.example", Enabled: true},
		{Origin: outbox.OriginConfig, Key: "moved", Tenant: "*", URL: "https://b2.example", Enabled: true},
		{Origin: outbox.OriginConfig, Key: "answered 410", Tenant: "*", URL: "https://d.example", Enabled: true},
		{Origin: outbox.OriginConfig, Key: "new", Tenant: "*", URL: "https://e.example", Enabled: true},
	}, 41)
	got := map[int64]string{}
	for _, w := range changed {
		got[w.ID] = w.URL
		if (w.RemovedAfter != nil) != (w.ID == 3) {
			t.Errorf("webhook %d: removed after %v", w.ID, w.RemovedAfter)
		}
	}
	want := map[int64]string{2: "https://b2.example", 3: "https://c.example", 5: "https://e.example"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is stored: %s", diff)
	}
}

func TestSubscriptions_ReloadDefinitions(t *testing.T) {
	t.Parallel()
	subs := newSubscriptions([]outbox.Webhook{
		{ID: 7, Origin: outbox.OriginConfig, Key: "crm", Tenant: "*", Events: []string{"*"}, Enabled: true},
		{ID: outbox.FirstRelayID, Origin: outbox.OriginRelay, Key: "a", Tenant: "*", Events: []string{"user.*"}, Enabled: true, Version: 1},
		{ID: outbox.FirstRelayID + 1, Origin: outbox.OriginRelay, Key: "b", Tenant: "*", Events: []string{"user.*"}, Enabled: true, Version: 2},
	})
	event := mapping.Event{Name: "user.created", Tenant: acme, TenantName: "acme"}
	const a, b, c = outbox.FirstRelayID, outbox.FirstRelayID + 1, outbox.FirstRelayID + 2
	hears := func(when string, want ...int64) {
		t.Helper()
		if diff := cmp.Diff(want, subs.match(&event)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	hears("before", 7, a, b)
	gone := int64(3)
	subs.reload([]outbox.Webhook{
		{ID: a, Origin: outbox.OriginRelay, Key: "a", Tenant: "*", Events: []string{"role.*"}, Enabled: true, Version: 3},
		{ID: b, Origin: outbox.OriginRelay, Key: "b", Tenant: "*", Events: []string{"user.*"}, Enabled: true, RemovedAfter: &gone, Version: 4},
		{ID: c, Origin: outbox.OriginRelay, Key: "c", Tenant: "acme", Events: []string{"*"}, Enabled: true, Version: 5},
	})
	hears("one changed, one removed, one new", 7, c)
	subs.reload([]outbox.Webhook{{ID: a, Origin: outbox.OriginRelay, Key: "a", Tenant: "*", Events: []string{"user.*"}, Enabled: true, Version: 1}})
	hears("an older version than the one that is known", 7, c)
	if subs.lastID != 7 {
		t.Errorf("the IAM's next webhook would be %d: ids of webhooks created by command are a separate range", subs.lastID+1)
	}
	if changed := subs.configure(nil, 9); len(changed) != 1 || changed[0].ID != 7 {
		t.Errorf("an empty configuration removes %v", changed)
	}
	hears("without a configuration", c)
}

// A webhook that was disabled manually is not enabled by a change in the IAM or in the configuration.
func TestSubscriptions_ReloadState(t *testing.T) {
	t.Parallel()
	subs := newSubscriptions([]outbox.Webhook{
		{ID: 1, Origin: outbox.OriginIAM, Key: "a", Tenant: acme, URL: "https://a.example", Events: []string{"*"}, Enabled: true, Options: "{}"},
		{ID: 2, Origin: outbox.OriginConfig, Key: "crm", Tenant: "*", URL: "https://b.example", Events: []string{"*"}, Enabled: true},
	})
	event := mapping.Event{Name: "user.created", Tenant: acme}
	stored := func(when string, w []outbox.Webhook, enabled bool, reason string) {
		t.Helper()
		if len(w) != 1 || w[0].Enabled != enabled || w[0].DisabledReason != reason {
			t.Errorf("%s: %+v", when, w)
		}
	}
	row := func(url string) mapping.Subscription {
		return mapping.Subscription{Key: "a", Tenant: acme, URL: url, Events: []string{"*"}}
	}
	moved := outbox.Webhook{ID: 1, Origin: outbox.OriginIAM, Key: "a", Tenant: other, URL: "https://old.example", DisabledReason: outbox.ManualReason("pager"), Version: 1}
	subs.reload([]outbox.Webhook{moved, {ID: 2, Origin: outbox.OriginConfig, Key: "crm", DisabledReason: outbox.ManualReason(""), Version: 2}, {ID: 9, Origin: outbox.OriginIAM, Key: "z", Tenant: acme, Version: 3}})
	if diff := cmp.Diff([]int64{1, 2}, subs.match(&event)); diff != "" {
		t.Errorf("disabled manually, they must still accumulate the events of their tenants (-want +got):\n%s", diff)
	}
	if w := subs.put(row("https://a.example"), 0); w != nil {
		t.Errorf("an unchanged row stores %+v", w)
	}
	stored("its URL changed", subs.put(row("https://a2.example"), 0), false, "manually: pager")
	configured := outbox.Webhook{Origin: outbox.OriginConfig, Key: "crm", Tenant: "*", URL: "https://b2.example", Events: []string{"*"}, Enabled: true}
	stored("the configuration changed", subs.configure([]outbox.Webhook{configured}, 0), false, "manually")
	configured.Enabled = false
	stored("the configuration switches it off", subs.configure([]outbox.Webhook{configured}, 0), false, "")
	if diff := cmp.Diff([]int64{1}, subs.match(&event)); diff != "" {
		t.Errorf("switched off by its owner, it collects nothing (-want +got):\n%s", diff)
	}

	subs.reload([]outbox.Webhook{{ID: 1, Origin: outbox.OriginIAM, Key: "a", Enabled: true, Version: 4}})
	stored("enabled, then its URL changed", subs.put(row("https://a3.example"), 0), true, "")
	subs.reload([]outbox.Webhook{{ID: 1, Origin: outbox.OriginIAM, Key: "a", DisabledReason: "the endpoint answered 410 Gone", Version: 5}})
	stored("disabled by the relay, then its URL changed", subs.put(row("https://a4.example"), 0), true, "")
}

func TestWebhookID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, system := range []string{"1", "12"} {
		for _, timeline := range []int{1, 2} {
			for _, lsn := range []cdc.LSN{1, 1 << 40} {
				for index := range 3 {
					id := webhookID(system, timeline, lsn, index)
					if seen[id] || len(id) != 36 || id != webhookID(system, timeline, lsn, index) {
						t.Errorf("webhookID(%s, %d, %s, %d) = %s: not unique, or not deterministic", system, timeline, lsn, index, id)
					}
					seen[id] = true
				}
			}
		}
	}
}
