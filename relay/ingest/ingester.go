// Package ingest turns committed transactions into commits to the outbox: it completes them with old rows from the mirror, has package
// mapping make events of them, and stores events, mirror and position in one outbox transaction. Before it comes replication, which hands
// it the transactions in WAL order and a plan of the tables to read from a snapshot. After it comes delivery, which gets the events of each
// commit; only then is the WAL acknowledged.
//
// Ingester.Run is the loop. A small transaction goes through commit.go, one that does not fit into memory through large_transaction.go, and
// a snapshot through reconcile.go.
package ingest

import (
	"context"
	"log/slog"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Config names what an Ingester works with during one session with the source.
type Config struct {
	Leader     Leader
	Store      Store
	Dispatcher Dispatcher
	Monitor    Monitor
	Metrics    *admin.Metrics
	Warnings   *Warnings
	Log        *slog.Logger

	Mapper *mapping.Mapper
	Owners map[*cdc.Table]int // from Mapper.OwnerColumns
	Plan   *SnapshotPlan
	Server cdc.Server
	Tables []*cdc.Table // all mapped tables
	// TenantNames is the column with the tenants' names; its Column is empty if the mapping names none.
	TenantNames outbox.TenantNames
	IAMWebhooks bool   // webhooks are read from the IAM's tables, too
	BatchRows   int    // the most changes per commit while there is a backlog
	SpillDir    string // for temporary files
	SpillBytes  int    // the size from which on net changes are kept there

	// SourceClock returns the end of the source's WAL and, read before it, the source's clock.
	SourceClock func(context.Context) (cdc.LSN, time.Time, error)
	// VerifySource returns an error, which ends the session, if mapped tables were altered in a way that the next session must compare them.
	// Else it returns an LSN: no transaction that committed before it was affected.
	VerifySource func(context.Context) (cdc.LSN, error)
	// Finished is called after each reconciliation with its error. An error that it returns ends the session.
	Finished func(outbox.Reconciliation, error) error
}

// Stream is the source of the transactions.
type Stream interface {
	// Acknowledge lets the server remove the WAL before the position.
	Acknowledge(cdc.LSN)
	// Ping asks the server to report the end of its WAL.
	Ping()
}

// Ingester turns committed transactions into outbox commits, in one goroutine and in WAL order. With a backlog, small transactions share
// a commit; a single one is committed at once.
type Ingester struct {
	Config
	mirror  *outbox.Mirror
	subs    *subscriptions
	delayed *delayedEvents
	stream  Stream // nil until Run

	stored     cdc.LSN   // the position in the outbox
	lastCommit time.Time // by this machine's clock
	lastEvent  int64     // the id of the newest event
	// mark is evidence of the history that was read, for the next session; pendingMark is a later one that no commit has stored yet.
	mark        cdc.HistoryMark
	pendingMark *cdc.HistoryMark

	limits limits

	verified    cdc.LSN         // see verifySource
	barrier     *Reconciliation // due when the stream reaches its snapshot; nil if none is
	reconciling bool
	clock       *walClock
	changes     outbox.WebhookChanges // how far changes of webhooks made elsewhere are known
}

// New restores the state of ingestion from the outbox, and re-encrypts stored secrets after a key rotation.
func New(ctx context.Context, c Config) (*Ingester, error) {
	reencrypted, err := c.Store.Reencrypt(ctx, c.Tables)
	if err != nil {
		return nil, err
	}
	if reencrypted > 0 {
		c.Log.Info("re-encrypted stored secrets with the first key of outbox.key_file", "rows", reencrypted)
	}
	position, err := c.Store.Position(ctx)
	if err != nil {
		return nil, err
	}
	webhooks, err := c.Store.LoadWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	delayed, firstDue, err := c.Store.DelayedCount(ctx)
	if err != nil {
		return nil, err
	}
	in := &Ingester{
		Config: c, mirror: c.Leader.NewMirror(c.Owners), subs: newSubscriptions(webhooks), delayed: &delayedEvents{count: delayed, firstDue: firstDue},
		stored: position.LSN, mark: position.Mark, lastEvent: position.LastEvent, clock: &walClock{log: c.Log, ask: c.SourceClock},
		limits: defaultLimits,
	}
	in.subs.fromIAM, in.subs.log = c.IAMWebhooks, c.Log
	return in, in.readSubscriptions(ctx)
}

// Stored returns the position in the outbox: all WAL before it has been ingested.
func (in *Ingester) Stored() cdc.LSN { return in.stored }

// Mark returns evidence of the history that was read up to Stored.
func (in *Ingester) Mark() cdc.HistoryMark { return in.mark }

// Delayed returns how many stored events wait for a change that may cancel them.
func (in *Ingester) Delayed() int { return in.delayed.len() }

// Await makes Run do the reconciliation when the stream reaches the position of its snapshot. r may be nil. Call it before Run.
func (in *Ingester) Await(r *Reconciliation) { in.barrier = r }

// idleCommitInterval is how often the position of an idle source is stored. Each time costs a small write, which produces WAL again if the
// outbox is in the source's database.
const idleCommitInterval = 10 * time.Second

// Run ingests messages until the channel is closed or ctx ends, which are not errors, or something fails. It works under working, which
// must outlive ctx so that a started commit can finish.
func (in *Ingester) Run(ctx, working context.Context, s Stream, messages <-chan cdc.Message) error {
	in.stream = s
	if in.barrier != nil {
		in.stream.Ping() // an idle source sends nothing that shows that the snapshot is reached
	}
	release, operational, changes := newReleaseTimer(), time.NewTicker(operationalPoll), time.NewTicker(delivery.WatchPoll)
	defer release.Stop()
	defer operational.Stop()
	defer changes.Stop()
	for {
		release.within(in.delayed.wait(time.Now()))
		var first cdc.Message
		select {
		case <-ctx.Done():
			return nil
		case <-release.C:
			release.fired()
			if in.clock.sample(working, in.delayed.due()) {
				in.stream.Ping()
			}
			continue
		case <-operational.C:
			if err := in.commitOperationalEvents(working); err != nil {
				return err
			}
			continue
		case <-changes.C:
			if err := in.reload(working); err != nil {
				return err
			}
			continue
		case m, open := <-messages:
			if !open {
				return nil
			}
			first = m
		}
		if err := in.take(working, first, messages); err != nil {
			return err
		}
	}
}

// readSubscriptions brings the subscriptions in line with the mirror as it is.
func (in *Ingester) readSubscriptions(ctx context.Context) error {
	changed, err := in.subs.read(ctx, in.Mapper, in.mirror, in.lastEvent)
	if err != nil {
		return err
	}
	if err := in.Leader.SaveWebhooks(ctx, changed); err != nil {
		return err
	}
	in.Dispatcher.Update(changed)
	return nil
}

// needsOwnCommit reports whether a transaction is too large for memory, or truncates a table, whose mirror may be too large.
func (in *Ingester) needsOwnCommit(tx *cdc.Transaction) bool {
	return tx.Spilled() || tx.Truncates()
}

// idle follows a message that all WAL before m.Idle has been handed over. It stores that position now and then, so that the server can
// remove the WAL.
func (in *Ingester) idle(ctx context.Context, m cdc.Message) error {
	lsn := m.Idle
	in.pendingMark = m.Mark
	in.Monitor.Idle(lsn)
	if err := in.passBarrier(ctx, lsn); err != nil {
		return err
	}
	if in.clock.reached(lsn) {
		if err := in.release(ctx, in.clock.time(), max(lsn, in.stored)); err != nil {
			return err
		}
	}
	if lsn <= in.stored || time.Since(in.lastCommit) < idleCommitInterval {
		return nil
	}
	chunk, began := &outbox.Chunk{Mark: in.pendingMark}, time.Now()
	if err := in.Leader.Commit(ctx, chunk, lsn, in.lastEvent); err != nil {
		return err
	}
	in.committed(chunk, lsn, in.lastEvent, began)
	return nil
}
