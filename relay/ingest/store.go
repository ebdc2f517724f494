package ingest

import (
	"context"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Store is what ingestion reads of the outbox, and where it records reconciliations: *outbox.Store.
type Store interface {
	// Reencrypt re-encrypts secrets that are not encrypted with the current key, and returns their number.
	Reencrypt(ctx context.Context, tables []*cdc.Table) (int, error)
	Position(ctx context.Context) (outbox.Position, error)
	LoadWebhooks(ctx context.Context) ([]outbox.Webhook, error)
	// ChangedWebhooks returns the webhooks that were changed since c was last used.
	ChangedWebhooks(ctx context.Context, c *outbox.WebhookChanges) ([]outbox.Webhook, error)
	// DelayedCount returns the number of delayed events, and when the first is due; the zero time if there are none.
	DelayedCount(ctx context.Context) (count int, due time.Time, err error)
	OperationalEvents(ctx context.Context, limit int) ([]outbox.OperationalEvent, error)
	TenantsNamed(ctx context.Context, table, column, name string) ([]string, error)

	// Rows counts the mirrored rows of the tables.
	Rows(ctx context.Context, tables []*cdc.Table) (int64, error)
	BeginReconciliation(ctx context.Context, r *outbox.Reconciliation) error
	UpdateReconciliation(ctx context.Context, r *outbox.Reconciliation) error
	EndReconciliation(ctx context.Context, r *outbox.Reconciliation) error
}

// Leader is this relay's leadership; see NewLeader. Its writes fail with outbox.ErrFenced once another relay leads.
type Leader interface {
	NewMirror(owners map[*cdc.Table]int) *outbox.Mirror
	// Commit writes a chunk and advances the position, in one transaction. After an error the transaction may have been committed.
	Commit(ctx context.Context, chunk *outbox.Chunk, end cdc.LSN, lastEvent int64) error
	// Begin starts a transaction that is written in chunks. Until its End, the mirror reads through it.
	Begin(ctx context.Context, m *outbox.Mirror) (Large, error)
	// DelayedDue returns delayed events that are due at now, earliest first, and none only if there are no more.
	DelayedDue(ctx context.Context, now time.Time, limit int) ([]outbox.DelayedEvent, error)
	SaveWebhooks(ctx context.Context, webhooks []outbox.Webhook) error
}

// Large is an outbox transaction that is written in chunks: *outbox.Large.
type Large interface {
	Write(ctx context.Context, chunk *outbox.Chunk) error
	// Ping keeps the transaction from idling out.
	Ping(ctx context.Context) error
	// Commit commits, and advances the position. CommitAt may move it to another server or timeline.
	Commit(ctx context.Context, end cdc.LSN, lastEvent int64, mark *cdc.HistoryMark) error
	CommitAt(ctx context.Context, p cdc.Position, lastEvent int64, mark *cdc.HistoryMark) error
	// End rolls back what was not committed.
	End(m *outbox.Mirror) error

	// Copy fills the mirror of whole tables.
	Copy(owners map[*cdc.Table]int) Copy
	ClearSnapshotKeys(ctx context.Context) error
	AddSnapshotKeys(ctx context.Context, keys []cdc.Key) error
	// EachDeleted calls each for the mirrored rows of a table whose keys were not added since ClearSnapshotKeys, in key order.
	EachDeleted(ctx context.Context, table *cdc.Table, each func(key cdc.Key, row cdc.Row) error) error
	RecordMirrored(ctx context.Context, tables []*cdc.Table, owners map[*cdc.Table]int, has func(t *cdc.Table, column int) bool, prints map[string]string) error
	EndReconciliation(ctx context.Context, r *outbox.Reconciliation) error
}

// Copy replaces the mirror of whole tables: *outbox.Copy.
type Copy interface {
	Table(ctx context.Context, t *cdc.Table, has func(t *cdc.Table, column int) bool, fingerprint string, read func(each func(cdc.Row) error) error) (int, error)
	// Keep removes the rows of all other tables.
	Keep(ctx context.Context, tables []*cdc.Table) error
}

// Dispatcher is the delivery of the events: *delivery.Dispatcher.
type Dispatcher interface {
	// Update takes over new, changed and removed webhooks; TakeForgotten returns those that the outbox has deleted since the last call.
	Update(webhooks []outbox.Webhook)
	TakeForgotten() []int64
	// Dispatch takes over events that were committed. Skip takes over those up to head that it reads from the outbox.
	Dispatch(events []outbox.Event)
	Skip(head int64, webhooks map[int64]bool)
}

// Monitor is where progress is shown: *monitor.Monitor.
type Monitor interface {
	Ingested(end cdc.LSN, delayed int)
	Idle(lsn cdc.LSN)
}

// NewLeader returns the Leader of an outbox.
func NewLeader(l *outbox.Leader) Leader { return leader{l} }

type leader struct{ *outbox.Leader }

func (l leader) Begin(ctx context.Context, m *outbox.Mirror) (Large, error) {
	t, err := l.Leader.Begin(ctx, m)
	if err != nil {
		return nil, err
	}
	return large{t}, nil
}

type large struct{ *outbox.Large }

func (t large) Copy(owners map[*cdc.Table]int) Copy { return t.Large.Copy(owners) }
