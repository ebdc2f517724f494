package ingest

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/delivery"
	"github.com/iam-relay/iam-relay/relay/monitor"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// ingestConfig is what an Ingester works with, for one session with the source.
type Config struct {
	Leader     *outbox.Leader
	Store      *outbox.Store
	Dispatcher *delivery.Dispatcher
	Monitor    *monitor.Monitor
	Metrics    *admin.Metrics
	Warnings   *Warnings
	Log        *slog.Logger

	Mapper *mapping.Mapper
	Owners map[*cdc.Table]int // by Mapper.OwnerColumns
	Plan   *SnapshotPlan      // nil if no table is read
	Server cdc.Server
	// Tables are all mapped ones, TenantNames where tenants have their names.
	Tables      []*cdc.Table
	TenantNames outbox.TenantNames
	// IAMWebhooks: webhooks are read from the IAM's own tables.
	IAMWebhooks bool
	BatchRows   int    // changes per commit while there is a backlog
	SpillDir    string // for temporary files
	SpillBytes  int    // from which size on a transaction is kept there

	// SourceClock asks the source for its clock and the end of its WAL.
	SourceClock func(context.Context) (cdc.LSN, time.Time, error)
	// Finished is asked after each reconciliation, with its error, and may end the session by returning one.
	Finished func(outbox.Reconciliation, error) error
}

// stream is where the transactions come from.
type Stream interface {
	Acknowledge(cdc.LSN) // everything before it is in the outbox
	Ping()               // ask the server how far its WAL is
}

// ingest turns committed transactions into outbox commits: one goroutine, in log order. Small transactions share a commit
// while there is a backlog; a single one is committed at once.
type Ingester struct {
	Config
	mirror *outbox.Mirror
	subs   *subscriptions
	held   *delayedEvents
	stream Stream // nil until Run

	// stored is the position that the outbox holds, lastEvent the newest event's id.
	stored    cdc.LSN
	idleSince time.Time
	// mark is what was read last, as evidence for the next session; seen is a later one that no commit has stored yet.
	mark      cdc.HistoryMark
	seen      *cdc.HistoryMark
	lastEvent int64

	barrier     *Reconciliation // to be done at its place in the log; nil if nothing is
	reconciling bool
	clock       *walClock
	changes     outbox.WebhookChanges
}

// newIngester restores the state of ingest from the outbox.
func New(ctx context.Context, c Config) (*Ingester, error) {
	resealed, err := c.Store.Reencrypt(ctx, c.Tables)
	if err != nil {
		return nil, err
	}
	if resealed > 0 {
		c.Log.Info("re-encrypted stored secrets with the first key of outbox.key_file", "rows", resealed)
	}
	position, err := c.Store.Position(ctx)
	if err != nil {
		return nil, err
	}
	webhooks, err := c.Store.LoadWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	holding, due, err := c.Store.DelayedCount(ctx)
	if err != nil {
		return nil, err
	}
	in := &Ingester{
		Config: c, mirror: c.Leader.NewMirror(c.Owners), subs: newSubscriptions(webhooks), held: &delayedEvents{count: holding, first: due},
		stored: position.LSN, mark: position.Mark, lastEvent: position.LastEvent, clock: &walClock{log: c.Log, ask: c.SourceClock},
	}
	in.subs.fromIAM, in.subs.log = c.IAMWebhooks, c.Log
	return in, in.readSubscriptions(ctx)
}

// Stored is the position that the outbox holds.
func (in *Ingester) Stored() cdc.LSN { return in.stored }

// Mark is evidence of the history that was read up to it.
func (in *Ingester) Mark() cdc.HistoryMark { return in.mark }

// Delayed is how many events wait for what may cancel them.
func (in *Ingester) Delayed() int { return in.held.len() }

// Await has the reconciliation done when the stream comes to the position of its snapshot.
func (in *Ingester) Await(r *Reconciliation) { in.barrier = r }

// idleStore is how often the position of an idle source is stored. Each time costs one small write, and where the outbox is
// in the source's own database that write moves the log again.
const idleStore = 10 * time.Second

// Run ingests until the channel is closed, ctx ends or something fails. What it has begun it does under working, which
// outlives ctx a little.
func (in *Ingester) Run(ctx, working context.Context, s Stream, messages <-chan cdc.Message) error {
	in.stream = s
	if in.barrier != nil {
		in.stream.Ping() // an idle source must say how far its log is
	}
	release, notices, changes := time.NewTimer(time.Hour), time.NewTicker(noticePoll), time.NewTicker(delivery.WatchPoll)
	defer release.Stop()
	defer notices.Stop()
	defer changes.Stop()
	for {
		release.Reset(in.held.wait(time.Now()))
		var first cdc.Message
		select {
		case <-ctx.Done():
			return nil
		case <-release.C:
			if in.clock.sample(working, in.held.due()) {
				in.stream.Ping()
			}
			continue
		case <-notices.C:
			if err := in.takeNotices(working); err != nil {
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

// take ingests one message and, as far as they are waiting already and fit into the same commit, those behind it.
func (in *Ingester) take(ctx context.Context, m cdc.Message, messages <-chan cdc.Message) error {
	var batch []*cdc.Transaction
	rows, bytes := 0, 0
	discard := func() {
		for _, tx := range batch {
			in.discard(tx)
		}
		batch, rows, bytes = nil, 0, 0
	}
	defer discard()
	// before commits what must come before a transaction that is no part of the batch.
	before := func() error {
		defer discard()
		return in.commit(ctx, batch)
	}
	for {
		tx := m.Transaction
		if tx != nil && in.held.overdue(tx.Time) { // they go before tx, unless the batch cancels them
			if err := before(); err != nil {
				return err
			}
			if err := in.release(ctx, tx.Time, in.stored); err != nil {
				return err
			}
		}
		if tx == nil || in.alone(tx) {
			if err := before(); err != nil {
				return err
			}
			if tx == nil {
				return in.idle(ctx, m)
			}
			defer in.discard(tx)
			if err := in.passBarrier(ctx, tx.Commit); err != nil {
				return err
			}
			return in.commitLarge(ctx, tx)
		}
		if in.barrier.passedBy(tx.Commit) {
			if err := before(); err != nil {
				return err
			}
			if err := in.passBarrier(ctx, tx.Commit); err != nil {
				return err
			}
		}
		batch = append(batch, tx)
		rows, bytes = rows+tx.Len(), bytes+tx.Bytes()
		if rows >= in.BatchRows || bytes >= commitBytes {
			return in.commit(ctx, batch)
		}
		select {
		case next, open := <-messages:
			if !open {
				return in.commit(ctx, batch)
			}
			m = next
		default:
			return in.commit(ctx, batch)
		}
	}
}

// alone reports whether a transaction is too large for memory, or empties a table whose mirror may be.
func (in *Ingester) alone(tx *cdc.Transaction) bool {
	return tx.Spilled() || tx.Truncates()
}

// committed is what follows a durable commit: only now may the server forget the log, and the events be sent.
func (in *Ingester) committed(chunk *outbox.Chunk, end cdc.LSN, last int64, began time.Time) {
	in.stored, in.lastEvent, in.idleSince, in.seen = end, last, time.Now(), nil
	in.acknowledge(end)
	in.Dispatcher.Update(chunk.Webhooks)
	in.Dispatcher.Dispatch(chunk.Events)
	in.held.drop(chunk.Canceled)
	in.Monitor.Ingested(end, in.held.len())
	in.Metrics.OutboxCommit(time.Since(began))
	var lacking withoutBody
	for i := range chunk.Events {
		e := &chunk.Events[i]
		in.Metrics.Event(e.Name, e.Tenant != "")
		if e.Tenant == "" {
			in.Warnings.unresolvedEvent(e.Name, "webhook_id", e.WebhookID, "resource", e.Resource)
		}
		lacking.add(e)
	}
	in.reportWithoutBody(&lacking)
}

// withoutBody counts the events of a commit whose bodies would have been larger than outbox.max_body.
type withoutBody struct {
	n     int
	first outbox.Event
}

func (w *withoutBody) add(e *outbox.Event) {
	if e.Body != nil {
		return
	}
	if w.n == 0 {
		w.first = *e
	}
	w.n++
}

func (in *Ingester) reportWithoutBody(w *withoutBody) {
	if w.n == 0 {
		return
	}
	in.Metrics.WithoutBody(w.n)
	in.Log.Error("events stored without a body, which would be larger than outbox.max_body; they will not be delivered; raise outbox.max_body or remove large columns from the mapping",
		"events", w.n, "lsn", w.first.LSN.String(), "first", w.first.Name, "webhook_id", w.first.WebhookID)
}

// changeKind is what changes are counted by.
type changeKind struct {
	table string
	op    cdc.Op
}

func tally(parts ...[]cdc.Change) map[changeKind]int {
	n := map[changeKind]int{}
	for _, changes := range parts {
		for i := range changes {
			n[changeKind{changes[i].Relation.Name, changes[i].Op}]++
		}
	}
	return n
}

// count adds changes to the metrics.
func (in *Ingester) count(counts map[changeKind]int) {
	for k, n := range counts {
		in.Metrics.Changes(k.table, k.op, n)
	}
}

// number gives the events of one transaction their IDs, in the order of their positions in it. It returns the last one.
func number(events []outbox.Event, last int64) int64 {
	slices.SortFunc(events, func(a, b outbox.Event) int { return cmp.Compare(a.Ordinal, b.Ordinal) })
	for i := range events {
		last++
		events[i].ID = last
	}
	return last
}

// emit gives an event its identity and its receivers. The caller numbers the events; one that is held gets its number later.
func (in *Ingester) emit(e *mapping.Event, tx *cdc.Transaction, chunk *outbox.Chunk) {
	entry := outbox.Event{
		WebhookID: webhookID(in.Server.SystemID, in.Server.Timeline, tx.Commit, e.Index), Name: e.Name, Tenant: string(e.Tenant), Resource: e.Resource,
		Occurred: tx.Time, LSN: tx.Commit, Ordinal: e.Index, Body: e.Body, Webhooks: in.subs.match(e),
		Reconciled: in.reconciling,
	}
	if e.Delay != nil {
		h := outbox.DelayedEvent{Event: entry, CancelKey: e.Delay.Match, Due: tx.Time.Add(e.Delay.Within)}
		in.held.add(h)
		chunk.AddDelayed(h)
		return
	}
	chunk.Add(entry)
}

// idle stores the place that an idle source has reached, now and then, so that the server can let go of its log.
func (in *Ingester) idle(ctx context.Context, m cdc.Message) error {
	lsn := m.Idle
	in.seen = m.Mark
	in.Monitor.Idle(lsn)
	if err := in.passBarrier(ctx, lsn); err != nil {
		return err
	}
	if in.clock.reached(lsn) {
		if err := in.release(ctx, in.clock.time(), max(lsn, in.stored)); err != nil {
			return err
		}
	}
	if lsn <= in.stored || time.Since(in.idleSince) < idleStore {
		return nil
	}
	chunk, began := &outbox.Chunk{Mark: in.seen}, time.Now()
	if err := in.Leader.Commit(ctx, chunk, lsn, in.lastEvent); err != nil {
		return err
	}
	in.committed(chunk, lsn, in.lastEvent, began)
	return nil
}

// acknowledge lets the server remove the WAL before the position, once something is streamed.
func (in *Ingester) acknowledge(lsn cdc.LSN) {
	if in.stream != nil {
		in.stream.Acknowledge(lsn)
	}
}
