package delivery

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// Store is what delivery reads of the outbox: *outbox.Store.
type Store interface {
	// ReadEvents returns events of one webhook in the order of their ids, and the id up to which it has looked.
	ReadEvents(ctx context.Context, r outbox.Read) ([]outbox.Event, int64, error)
	// Blocked counts the retries that block later deliveries, by webhook and order key.
	Blocked(ctx context.Context, webhooks []int64) (map[int64]map[string]int, error)
	LoadWebhooksByID(ctx context.Context, ids []int64) ([]outbox.Webhook, error)
	// ChangedWebhooks returns the webhooks that were changed since c was last used.
	ChangedWebhooks(ctx context.Context, c *outbox.WebhookChanges) ([]outbox.Webhook, error)

	// SyncClock reads the server's clock: by how much it is ahead of this machine's, and by how much that may be wrong. ServerTime and
	// LocalHealth convert between the two.
	SyncClock(ctx context.Context) (ahead, took time.Duration, err error)
	ServerTime(local time.Time) time.Time
	LocalHealth(h outbox.Health) outbox.Health
}

// Member is this relay's membership, which holds its leases: *outbox.Member.
type Member interface {
	// Alive reports whether the leases are still valid, without asking the outbox.
	Alive() bool
	// Lagging counts the webhooks that catch up; Claim leases some to which no running relay delivers.
	Lagging(ctx context.Context, minLag int64) (outbox.Lagging, error)
	Claim(ctx context.Context, limit int, minLag, maxLag int64) ([]outbox.Webhook, error)
	// ClaimDue leases retries that are due, ClaimOldest the oldest of one webhook, due or not; nil if there is none.
	ClaimDue(ctx context.Context, c outbox.Claim) ([]outbox.DueRetry, error)
	ClaimOldest(ctx context.Context, webhook int64) (*outbox.DueRetry, error)
	// Record writes outcomes in one transaction, and returns the webhooks that this member has no lease of any more. The epoch is 0
	// unless it leads. The error wraps outbox.ErrFenced once another relay has taken over.
	Record(ctx context.Context, epoch int64, d *outbox.Delivery) (lost []int64, err error)
}

// Leader is this relay's leadership: *outbox.Leader.
type Leader interface {
	Epoch() int64
	// FollowClock corrects due times after the outbox server's clock was set, and returns by how much it was.
	FollowClock(ctx context.Context) (time.Duration, error)
}

// Sender makes single attempts: *webhook.Sender.
type Sender interface {
	// Target prepares a webhook. The target is usable only without an error.
	Target(e *webhook.Endpoint) (*webhook.Target, error)
	Send(ctx context.Context, t *webhook.Target, m *webhook.Message) webhook.Outcome
	Handshake(ctx context.Context, t *webhook.Target) webhook.Outcome
	// MaxPayload is the size in bytes up to which bodies are sent; 0 is any.
	MaxPayload() int64
}
