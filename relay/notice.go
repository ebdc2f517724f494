package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

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
func asksForOperational(patterns []string, name string) bool {
	for _, p := range patterns {
		if isOperational(p) && webhook.Matches([]string{p}, name) {
			return true
		}
	}
	return false
}

// notify keeps what happened to an endpoint, until the leader makes an event of it.
func (d *dispatcher) notify(e *endpoint, name string, event *outbox.Event, more map[string]any) {
	data := map[string]any{"webhook": map[string]any{"id": e.id, "name": e.name, "origin": e.origin, "key": e.ownKey, "tenant": e.tenant}}
	n := outbox.Notice{Webhook: e.id, Name: name}
	if event != nil {
		n.Event = event.ID
		data["event"] = map[string]any{"id": event.ID, "webhook_id": event.WebhookID, "name": event.Name, "resource_id": event.Resource}
	}
	maps.Copy(data, more)
	var err error
	if n.Data, err = json.Marshal(data); err != nil {
		d.log.Error("a notice was lost", "name", name, "webhook", e.name, "err", err)
		return
	}
	d.ledger.notice(n)
}

// exhausted tells that a delivery was given up; of deliveries of operational events it does not, or they would go round.
func (d *dispatcher) exhausted(e *endpoint, event *outbox.Event, attempts int, o webhook.Outcome) {
	if !isOperational(event.Name) {
		d.notify(e, DeliveryExhausted, event, map[string]any{"attempts": attempts, "class": o.Class, "status": o.Status})
	}
}

const (
	// noticePoll is how often the leader looks for notices, noticesAtOnce how many it takes at a time.
	noticePoll    = 2 * time.Second
	noticesAtOnce = 100
)

// takeNotices makes events of what happened to webhooks, in a commit of their own.
func (in *ingest) takeNotices(ctx context.Context) error {
	notices, err := in.store.Notices(ctx, noticesAtOnce)
	if err != nil || len(notices) == 0 {
		return err
	}
	chunk, last := &outbox.Chunk{}, in.lastEvent
	for i := range notices {
		n := &notices[i]
		chunk.Notices = append(chunk.Notices, n.ID)
		event, err := in.operational(n)
		if err != nil {
			return err
		}
		if len(event.Webhooks) == 0 {
			continue // nobody asked
		}
		last++
		event.ID = last
		chunk.Add(event)
	}
	began := time.Now()
	if err := in.leader.Commit(ctx, chunk, in.stored, last); err != nil {
		return err
	}
	in.committed(chunk, in.stored, last, began)
	return nil
}

// operational makes the event of a notice. Its place in the order of the log is before whatever is committed next.
func (in *ingest) operational(n *outbox.Notice) (outbox.Event, error) {
	e := outbox.Event{
		WebhookID: noticeID(in.systemID, n.ID), Name: n.Name, Occurred: n.At.UTC(), LSN: in.stored, Ordinal: math.MinInt32 + int(n.ID%math.MaxInt32),
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
		return e, fmt.Errorf("make an event of notice %d: %w", n.ID, err)
	}
	return e, nil
}

// WebhookResource is the resource_id of events about a webhook: its own key where that is a UUID, else a UUID made of origin and key.
func WebhookResource(w *outbox.Webhook) string {
	if uuidShape.MatchString(w.Key) {
		return w.Key
	}
	sum := sha256.Sum256([]byte("webhook\x00" + w.Origin + "\x00" + w.Key))
	u := sum[:16]
	u[6], u[8] = 0x80|u[6]&0x0f, 0x80|u[8]&0x3f // version 8: custom (RFC 9562, section 5.8)
	text := hex.EncodeToString(u)
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// noticeID is the identity of an operational event: the notice's, which is stored.
func noticeID(systemID string, notice int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "notice\x00%s\x00%d", systemID, notice))
	return "evt_" + idEncoding.EncodeToString(sum[:20])
}
