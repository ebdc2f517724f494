package delivery

import (
	"testing"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

const (
	acme   = "0198c0de-0000-7000-8000-0000000000a1"
	other  = "0198c0de-0000-7000-8000-0000000000a2"
	master = "0198c0de-0000-7000-8000-0000000000a0"
)

// A tenant name that another tenant has taken over belongs to that one: its webhooks refuse the remaining events of the former tenant.
func TestDispatcher_RefusesEventsOfAnotherTenant(t *testing.T) {
	t.Parallel()
	d := &Dispatcher{Config: Config{RootEvents: map[string]bool{"realm.deleted": true}}}
	for _, test := range []struct {
		origin, tenant string
		keys           []string
		event          outbox.Event
		want           bool
	}{
		{outbox.OriginIAM, acme, nil, outbox.Event{Name: "user.created", Tenant: acme}, true},
		{outbox.OriginIAM, acme, nil, outbox.Event{Name: "user.created", Tenant: other}, false},
		{outbox.OriginIAM, master, nil, outbox.Event{Name: "realm.deleted", Tenant: other}, true},
		{outbox.OriginIAM, webhook.AllTenants, nil, outbox.Event{Name: "user.created", Tenant: other}, false},
		{outbox.OriginConfig, webhook.AllTenants, nil, outbox.Event{Name: "user.created", Tenant: other}, true},
		{outbox.OriginConfig, acme, nil, outbox.Event{Name: "user.created", Tenant: other}, false},
		{outbox.OriginConfig, "acme", nil, outbox.Event{Name: "user.created", Tenant: acme}, true},
		{outbox.OriginConfig, "acme", []string{acme}, outbox.Event{Name: "user.created", Tenant: acme}, true},
		{outbox.OriginConfig, "acme", []string{other}, outbox.Event{Name: "user.created", Tenant: acme}, false},
		{outbox.OriginRelay, webhook.AllTenants, nil, outbox.Event{Name: "user.created"}, false},
		{outbox.OriginRelay, "acme", []string{other}, outbox.Event{Name: "endpoint.failing", Tenant: "acme"}, true},
	} {
		e := &endpoint{definition: definition{origin: test.origin, tenant: test.tenant, tenantKeys: test.keys}}
		if got := d.mayReceive(e, &test.event); got != test.want {
			t.Errorf("%s webhook of %s %v: may receive %s of %s is %v", test.origin, test.tenant, test.keys, test.event.Name, test.event.Tenant, got)
		}
	}
}
