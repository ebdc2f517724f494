package delivery

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Operational events: what happens to webhooks and deliveries, told through the same pipe to the webhooks that ask for them
// by name. A star alone does not ask for them.
const (
	EndpointFailing   = "endpoint.failing"
	EndpointDisabled  = "endpoint.disabled"
	EndpointRecovered = "endpoint.recovered"
	DeliveryExhausted = "delivery.exhausted"
)

// OperationalEvents returns their names.
func OperationalEvents() []string {
	return []string{EndpointFailing, EndpointDisabled, EndpointRecovered, DeliveryExhausted}
}

func isOperational(name string) bool {
	return strings.HasPrefix(name, "endpoint.") || strings.HasPrefix(name, "delivery.")
}

// asksForOperational reports whether one of the patterns means the operational event, and not just everything.
func AsksForOperational(patterns []string, name string) bool {
	for _, p := range patterns {
		if isOperational(p) && webhook.Matches([]string{p}, name) {
			return true
		}
	}
	return false
}

// notify keeps what happened to an endpoint, until the leader makes an event of it.
func (d *Dispatcher) notify(e *endpoint, name string, event *outbox.Event, more map[string]any) {
	data := map[string]any{"webhook": map[string]any{"id": e.id, "name": e.name, "origin": e.origin, "key": e.ownKey, "tenant": e.tenant}}
	n := outbox.OperationalEvent{Webhook: e.id, Name: name}
	if event != nil {
		n.Event = event.ID
		data["event"] = map[string]any{"id": event.ID, "webhook_id": event.WebhookID, "name": event.Name, "resource_id": event.Resource}
	}
	maps.Copy(data, more)
	var err error
	if n.Data, err = json.Marshal(data); err != nil {
		d.Log.Error("a notice was lost", "name", name, "webhook", e.name, "err", err)
		return
	}
	d.ledger.notice(n)
}

// exhausted tells that a delivery was given up; of deliveries of operational events it does not, or they would go round.
func (d *Dispatcher) exhausted(e *endpoint, event *outbox.Event, attempts int, o webhook.Outcome) {
	if !isOperational(event.Name) {
		d.notify(e, DeliveryExhausted, event, map[string]any{"attempts": attempts, "class": o.Class, "status": o.Status})
	}
}
