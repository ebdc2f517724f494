package relay

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
		{ID: 8, Origin: outbox.OriginConfig, Key: "answered 410", Tenant: "*", Events: []string{"user.created"}, DisabledFor: "410"},
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
		{"nobody asked", mapping.Event{Name: "client.created", Tenant: master, TenantName: "master"}, []int64{}},
		{"to the root too", mapping.Event{Name: "realm.deleted", Tenant: acme, TenantName: "acme", ToRoot: true}, []int64{1, 3, 5}},
		{"the realm is not known", mapping.Event{Name: "user.created"}, []int64{}},
		{"a realm named after another's key", mapping.Event{Name: "role.created", Tenant: acme, TenantName: other}, []int64{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			locked := newSubscriptions(nil)
			*locked = *subs
			locked.wants = map[wanted]bool{}
			if diff := cmp.Diff(test.want, locked.match(&test.event)); diff != "" {
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
		{ID: 4, Origin: outbox.OriginConfig, Key: "answered 410", Tenant: "*", URL: "https://d.example", DisabledFor: "410"},
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

func TestWebhookID(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, system := range []string{"1", "12"} {
		for _, timeline := range []int{1, 2} {
			for _, lsn := range []cdc.LSN{1, 1 << 40} {
				for index := range 3 {
					id := webhookID(system, timeline, lsn, index)
					if seen[id] || len(id) != 36 || id != webhookID(system, timeline, lsn, index) {
						t.Errorf("webhookID(%s, %d, %s, %d) = %s: not one of its own, or not the same twice", system, timeline, lsn, index, id)
					}
					seen[id] = true
				}
			}
		}
	}
}
