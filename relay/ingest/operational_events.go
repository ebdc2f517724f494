package ingest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

const (
	operationalPoll  = 2 * time.Second // how often the leader looks for operational events to emit
	operationalBatch = 100             // the most that one commit emits
)

// commitOperationalEvents emits what the relays have noted about webhooks (endpoint.* and delivery.*), in a separate commit.
func (in *Ingester) commitOperationalEvents(ctx context.Context) error {
	pending, err := in.Store.OperationalEvents(ctx, operationalBatch)
	if err != nil || len(pending) == 0 {
		return err
	}
	chunk, last := &outbox.Chunk{}, in.lastEvent
	for i := range pending {
		n := &pending[i]
		chunk.OperationalEvents = append(chunk.OperationalEvents, n.ID)
		event, err := in.operational(n)
		if err != nil {
			return err
		}
		if len(event.Webhooks) == 0 {
			continue // no webhook subscribes to it
		}
		last++
		event.ID = last
		chunk.Add(event)
	}
	began := time.Now()
	if err := in.Leader.Commit(ctx, chunk, in.stored, last); err != nil {
		return err
	}
	in.committed(chunk, in.stored, last, began)
	return nil
}

// operational builds the event. Its ordinal places it before the events of the next transaction.
func (in *Ingester) operational(n *outbox.OperationalEvent) (outbox.Event, error) {
	e := outbox.Event{
		WebhookID: operationalID(in.Server.SystemID, n.ID), Name: n.Name, Occurred: n.At.UTC(), LSN: in.stored, Ordinal: math.MinInt32 + int(n.ID%math.MaxInt32),
	}
	about := in.subs.byID[n.Webhook]
	if about == nil {
		return e, nil
	}
	e.Tenant, e.Resource, e.Webhooks = about.Tenant, WebhookResource(about), in.subs.matchOperational(n.Name, about)
	var err error
	e.Body, err = json.Marshal(struct {
		Event      string          `json:"event"`
		Timestamp  time.Time       `json:"timestamp"`
		ResourceID string          `json:"resource_id"`
		Data       json.RawMessage `json:"data"`
	}{e.Name, e.Occurred, e.Resource, n.Data})
	if err != nil {
		return e, fmt.Errorf("build operational event %d: %w", n.ID, err)
	}
	return e, nil
}

// WebhookResource returns the resource_id of events about a webhook: its key if that is a UUID, otherwise a UUID derived from its origin and
// key.
func WebhookResource(w *outbox.Webhook) string {
	if webhook.IsUUID(w.Key) {
		return w.Key
	}
	sum := sha256.Sum256([]byte("webhook\x00" + w.Origin + "\x00" + w.Key))
	u := sum[:16]
	u[6], u[8] = 0x80|u[6]&0x0f, 0x80|u[8]&0x3f // version 8: custom (RFC 9562, section 5.8)
	text := hex.EncodeToString(u)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// operationalID returns the webhook-id of an operational event, from the id under which it is stored.
func operationalID(systemID string, id int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "notice\x00%s\x00%d", systemID, id))
	return "evt_" + idEncoding.EncodeToString(sum[:20])
}
