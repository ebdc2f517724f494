package delivery

import (
	"encoding/json"
	"maps"
	"strings"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Operational events report what happens to webhooks and deliveries. Only webhooks that name them receive them: "*" does not.
const (
	EndpointFailing   = "endpoint.failing"
	EndpointDisabled  = "endpoint.disabled"
	EndpointRecovered = "endpoint.recovered"
	DeliveryExhausted = "delivery.exhausted"
)

// OperationalEvents returns the names of all operational events.
func OperationalEvents() []string {
	return []string{EndpointFailing, EndpointDisabled, EndpointRecovered, DeliveryExhausted}
}

func isOperational(name string) bool {
	return strings.HasPrefix(name, "endpoint.") || strings.HasPrefix(name, "delivery.")
}

// AsksForOperational reports whether one of the patterns names the operational event.
func AsksForOperational(patterns []string, name string) bool {
	for _, p := range patterns {
		if isOperational(p) && webhook.Matches([]string{p}, name) {
			return true
		}
	}
	return false
}

// emit records an operational event about an endpoint, and about one of its deliveries if event is not nil. The leader ingests it.
func (d *Dispatcher) emit(e *endpoint, name string, event *outbox.Event, more map[string]any) {
	data := map[string]any{"webhook": map[string]any{"id": e.id, "name": e.name, "origin": e.origin, "key": e.key, "tenant": e.tenant}}
	n := outbox.OperationalEvent{Webhook: e.id, Name: name}
	if event != nil {
		n.Event = event.ID
		data["event"] = map[string]any{"id": event.ID, "webhook_id": event.WebhookID, "name": event.Name, "resource_id": event.Resource}
	}
	maps.Copy(data, more)
	var err error
	if n.Data, err = json.Marshal(data); err != nil {
		d.Log.Error("bug: an operational event cannot be encoded; please report it", "name", name, "webhook", e.name, "err", err)
		return
	}
	d.recorder.operationalEvent(n)
}

// emitExhausted reports a delivery that was given up, unless it was of an operational event: those would cause each other.
func (d *Dispatcher) emitExhausted(e *endpoint, event *outbox.Event, attempts int, o *webhook.Outcome) {
	if !isOperational(event.Name) {
		d.emit(e, DeliveryExhausted, event, map[string]any{"attempts": attempts, "class": o.Class, "status": o.Status})
	}
}
