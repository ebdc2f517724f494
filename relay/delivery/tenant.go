package delivery

import (
	"slices"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// mayReceive reports whether the event belongs to the webhook's tenant. Ingestion has chosen an event's webhooks; this checks again when it
// is sent, which may be long after, as a retry or in a replay.
func (d *Dispatcher) mayReceive(e *endpoint, event *outbox.Event) bool {
	switch {
	case event.Tenant == e.tenant:
		return true
	case event.Tenant == "":
		return false
	case e.origin == outbox.OriginIAM:
		return d.RootEvents[event.Name] // ingestion knows which tenants are roots
	case e.tenant == webhook.AllTenants:
		return true
	case !webhook.IsTenantName(e.tenant):
		return false
	}
	return len(e.tenantKeys) == 0 || slices.Contains(e.tenantKeys, event.Tenant)
}

// refuse returns the outcome for an event that must not be sent to the endpoint.
func (d *Dispatcher) refuse(e *endpoint, event *outbox.Event) (o webhook.Outcome, refused bool) {
	switch {
	case e.gone():
		return webhook.Outcome{Class: webhook.ClassCanceled}, true
	case !d.mayReceive(e, event):
		d.Log.Warn("event not sent: the webhook belongs to another tenant now", "webhook", e.name, "event", event.ID, "event_tenant", event.Tenant)
		return webhook.WrongTenant(), true
	}
	return o, false
}
