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

// samplesRead is how many of the newest events are searched for one that the webhook was subscribed to.
const samplesRead = 1000

// testMessage is an event of the given name. Its webhook-id begins with test_, so that a receiver can distinguish it.
func (s *session) testMessage(ctx context.Context, w *outbox.Webhook, event string) (*webhook.Message, error) {
	now := time.Now().UTC()
	m := &webhook.Message{
		ID: "test_" + strings.ToLower(rand.Text()), Event: event, Tenant: w.Tenant, Resource: ingest.WebhookResource(w), Attempt: 1, Occurred: now,
	}
	if event != testEvent {
		rules, err := relay.Rules(s.cfg)
		if err != nil {
			return nil, err
		}
		known := append(rules.EventNames(), delivery.OperationalEvents()...)
		if !slices.Contains(known, event) {
			if err := webhook.CheckPatterns([]string{event}, known); err != nil {
				return nil, &usageError{fmt.Sprintf("--event: %s", strings.Replace(err.Error(), "event pattern", "event", 1))}
			}
			return nil, &usageError{fmt.Sprintf("--event takes one name, not a pattern: %q", event)}
		}
		sample, body, err := s.newestSample(ctx, w, event)
		if err != nil {
			return nil, err
		}
		if sample != nil {
			m.Tenant, m.Resource, m.Body, m.Occurred = sample.Tenant, sample.Resource, body, sample.Occurred
			return m, nil
		}
	}
	m.Body = testBody(w, event, now)
	return m, nil
}

// newestSample returns the newest stored event of that name that the webhook may receive, with its body; nil if there is none. As in
// a replay, that is an event of the webhook's tenant; if the webhook may name its tenant by name, one that it was subscribed to.
func (s *session) newestSample(ctx context.Context, w *outbox.Webhook, event string) (*outbox.Event, []byte, error) {
	filter, limit := outbox.EventFilter{Names: []string{event}}, 1
	subscribed := outbox.ReplaysSubscribedOnly(w.Origin, w.Tenant)
	switch {
	case subscribed:
		limit = samplesRead
	case w.Origin == outbox.OriginIAM || w.Tenant != webhook.AllTenants:
		filter.Tenant = w.Tenant
	}
	events, err := s.store.Events(ctx, filter, limit)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(events, func(e outbox.Event) bool {
		return e.Tenant != "" && (!subscribed || slices.Contains(e.Webhooks, w.ID))
	})
	if i < 0 {
		return nil, nil, nil
	}
	body, err := s.store.Body(ctx, events[i].ID)
	if err != nil || body == nil { // retention may have dropped it meanwhile
		return nil, nil, err
	}
	return &events[i], body, nil
}

// testBody is the body of a test event without sample data.
func testBody(w *outbox.Webhook, event string, now time.Time) []byte {
	body, err := json.Marshal(struct {
		Event      string            `json:"event"`
		Timestamp  time.Time         `json:"timestamp"`
		ResourceID string            `json:"resource_id"`
		Data       map[string]string `json:"data"`
	}{event, now, ingest.WebhookResource(w), map[string]string{"webhook": nameOf(w)}})
	if err != nil { // texts always marshal
		panic(err)
	}
	return body
}
