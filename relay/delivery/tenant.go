package delivery

import (
	"slices"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// mayHear reports whether the event is of the webhook's tenant. The webhooks of an event were chosen when it was ingested; this is
// asked again when it is sent, however long it waited, was parked or is replayed since.
func (d *Dispatcher) mayHear(e *endpoint, event *outbox.Event) bool {
	switch {
	case event.Tenant == e.tenant:
		return true
	case event.Tenant == "":
		return false
	case e.origin == outbox.OriginIAM:
		return d.RootEvents[event.Name] // which tenants are roots, ingest knows
	case e.tenant == webhook.AllTenants:
		return true
	case !webhook.IsTenantName(e.tenant):
		return false
	}
	return len(e.tenantKeys) == 0 || slices.Contains(e.tenantKeys, event.Tenant)
}

// refuse returns the outcome of an event that must not be sent to the endpoint, if it must not.
func (d *Dispatcher) refuse(e *endpoint, event *outbox.Event) (o webhook.Outcome, refused bool) {
	switch {
	case e.gone(): // nobody wants it any more
		return webhook.Outcome{Class: webhook.ClassCanceled}, true
	case !d.mayHear(e, event):
		d.Log.Warn("event not sent: the webhook belongs to another tenant now", "webhook", e.name, "event", event.ID, "event_tenant", event.Tenant)
		return webhook.WrongTenant(), true
	}
	return o, false
}
