package command

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// samplesRead is how many of the newest events of a name are searched for one that the webhook was subscribed to.
const samplesRead = 1000

// testMessage is an event of the given name. Its webhook-id begins with test_, which no stored event's does, so a receiver can tell.
func (w *webhooks) testMessage(ctx context.Context, one *outbox.Webhook, event string) (*webhook.Message, error) {
	now := time.Now().UTC()
	m := &webhook.Message{
		ID: "test_" + strings.ToLower(rand.Text()), Event: event, Tenant: one.Tenant, Resource: ingest.WebhookResource(one), Attempt: 1, Occurred: now,
	}
	if event != testEvent {
		rules, err := relay.Rules(w.cfg)
		if err != nil {
			return nil, err
		}
		known := append(rules.EventNames(), delivery.OperationalEvents()...)
		if !slices.Contains(known, event) {
			if err := webhook.CheckPatterns([]string{event}, known); err != nil {
				return nil, &usageError{fmt.Sprintf("--event: %s", strings.Replace(err.Error(), "event pattern", "event", 1))}
			}
			return nil, &usageError{fmt.Sprintf("--event takes one name, and %q is a pattern", event)}
		}
		sample, body, err := w.newestSample(ctx, one, event)
		if err != nil {
			return nil, err
		}
		if sample != nil {
			m.Tenant, m.Resource, m.Body, m.Occurred = sample.Tenant, sample.Resource, body, sample.Occurred
			return m, nil
		}
	}
	m.Body = testBody(one, event, now)
	return m, nil
}

// newestSample returns the newest stored event of that name that the webhook may see, with its body; nil if there is none. As with a
// replay, a webhook sees only events of its own tenant: where it names that by something that may be a name, only those that it was
// subscribed to.
func (w *webhooks) newestSample(ctx context.Context, one *outbox.Webhook, event string) (*outbox.Event, []byte, error) {
	filter, limit := outbox.EventFilter{Names: []string{event}}, 1
	subscribed := outbox.ReplaysSubscribedOnly(one.Origin, one.Tenant)
	switch {
	case subscribed:
		limit = samplesRead
	case one.Origin == outbox.OriginIAM || one.Tenant != webhook.AllTenants:
		filter.Tenant = one.Tenant
	}
	events, err := w.store.Events(ctx, filter, limit)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(events, func(e outbox.Event) bool {
		return e.Tenant != "" && (!subscribed || slices.Contains(e.Webhooks, one.ID))
	})
	if i < 0 {
		return nil, nil, nil
	}
	body, err := w.store.Body(ctx, events[i].ID)
	if err != nil || body == nil { // retention may just have dropped it
		return nil, nil, err
	}
	return &events[i], body, nil
}

// testBody has the four fields of every event.
func testBody(one *outbox.Webhook, event string, now time.Time) []byte {
	body, err := json.Marshal(struct {
		Event      string            `json:"event"`
		Timestamp  time.Time         `json:"timestamp"`
		ResourceID string            `json:"resource_id"`
		Data       map[string]string `json:"data"`
	}{event, now, ingest.WebhookResource(one), map[string]string{"webhook": nameOf(one)}})
	if err != nil { // texts always marshal
		panic(err)
	}
	return body
}
