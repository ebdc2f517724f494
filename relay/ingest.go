package relay

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// ingest turns committed transactions into outbox commits: one goroutine, in log order. Small transactions share a commit
// while there is a backlog; a single one is committed at once.
type ingest struct {
	leader   *outbox.Leader
	store    *outbox.Store
	owners   map[*cdc.Table]int
	mapper   *mapping.Mapper
	mirror   *outbox.Mirror
	subs     *subscriptions
	held     *held
	systemID string
	timeline int

	// stored is the position that the outbox holds, lastEvent the newest event's id.
	stored    cdc.LSN
	idleSince time.Time
	lastEvent int64

	batchRows int
	spillDir  string
	spillAt   int

	acknowledge func(cdc.LSN)
	dispatch    *dispatcher
	barrier     *reconciliation // to be done at its place in the log; nil if nothing is
	reconciling bool
	finished    func(outbox.Reconciliation, error) error
	clock       *logClock
	changes     outbox.WebhookChanges
	monitor     *monitor
	metrics     *admin.Metrics
	warned      *warnings
	log         *slog.Logger
	names       outbox.TenantNames
}

// idleStore is how often the position of an idle source is stored. Each time costs one small write, and where the outbox is
// in the source's own database that write moves the log again.
const idleStore = 10 * time.Second

// run ingests until the channel is closed, ctx ends or something fails. What it has begun it does under working, which
// outlives ctx a little.
func (in *ingest) run(ctx, working context.Context, messages <-chan cdc.Message) error {
	if in.barrier != nil {
		in.clock.ping() // an idle source must say how far its log is
	}
	release, notices, changes := time.NewTimer(time.Hour), time.NewTicker(noticePoll), time.NewTicker(watchPoll)
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
			in.clock.sample(working, in.held.due())
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
func (in *ingest) readSubscriptions(ctx context.Context) error {
	changed, err := in.subs.read(ctx, in.mapper, in.mirror, in.lastEvent)
	if err != nil {
		return err
	}
	if err := in.leader.SaveWebhooks(ctx, changed); err != nil {
		return err
	}
	in.dispatch.update(changed)
	return nil
}

// take ingests one message and, as far as they are waiting already and fit into the same commit, those behind it.
func (in *ingest) take(ctx context.Context, m cdc.Message, messages <-chan cdc.Message) error {
	var batch []*cdc.Transaction
	rows := 0
	discard := func() {
		for _, tx := range batch {
			in.discard(tx)
		}
		batch, rows = nil, 0
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
				return in.idle(ctx, m.Idle)
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
		if rows += tx.Len(); rows >= in.batchRows {
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
func (in *ingest) alone(tx *cdc.Transaction) bool {
	return tx.Spilled() || tx.Truncates()
}

// commit writes a batch of small transactions as one outbox transaction.
func (in *ingest) commit(ctx context.Context, batch []*cdc.Transaction) error {
	if len(batch) == 0 {
		return nil
	}
	began := time.Now()
	in.mirror.Begin(ctx)
	parts := make([][]cdc.Change, len(batch))
	for i, tx := range batch {
		parts[i] = in.barrier.known(tx.Changes())
	}
	counts := tally(parts...) // folding changes them
	if err := in.prefetch(parts); err != nil {
		return err
	}
	chunk := &outbox.Chunk{}
	last := in.lastEvent
	for i, tx := range batch {
		var err error
		if last, err = in.transact(ctx, tx, parts[i], chunk, last); err != nil {
			return fmt.Errorf("transaction %s: %w", tx.Commit, err)
		}
	}
	if err := in.mirror.Err(); err != nil {
		return err
	}
	in.mirror.Write(chunk)
	end := batch[len(batch)-1].End
	if err := in.leader.Commit(ctx, chunk, end, last); err != nil {
		in.mirror.Reset()
		return err
	}
	in.mirror.Committed()
	in.committed(chunk, end, last, began)
	for _, tx := range batch {
		in.metrics.Transaction(time.Since(tx.Time))
	}
	in.count(counts)
	return nil
}

// committed is what follows a durable commit: only now may the server forget the log, and the events be sent.
func (in *ingest) committed(chunk *outbox.Chunk, end cdc.LSN, last int64, began time.Time) {
	in.stored, in.lastEvent, in.idleSince = end, last, time.Now()
	in.acknowledge(end)
	in.dispatch.update(chunk.Webhooks)
	in.dispatch.dispatch(chunk.Events)
	in.held.drop(chunk.Cancelled)
	in.monitor.ingested(end, in.held.len())
	in.metrics.OutboxCommit(time.Since(began))
	for i := range chunk.Events {
		e := &chunk.Events[i]
		in.metrics.Event(e.Name, e.Tenant != "")
		if e.Tenant == "" {
			in.warned.unresolvedEvent(e.Name, "webhook_id", e.WebhookID, "resource", e.Resource)
		}
	}
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
func (in *ingest) count(counts map[changeKind]int) {
	for k, n := range counts {
		in.metrics.Changes(k.table, k.op, n)
	}
}

// prefetch loads the mirror rows that a batch will ask for: the old rows of what changed, then, round by round, the parents
// and children that those and the new ones name. What it does not foresee is fetched when it is asked for.
func (in *ingest) prefetch(parts [][]cdc.Change) error {
	for _, changes := range parts {
		for i := range changes {
			in.wantOld(&changes[i])
		}
	}
	if err := in.mirror.Load(func(*cdc.Table, cdc.Row) {}); err != nil {
		return err
	}
	for _, changes := range parts {
		for i := range changes {
			c := changes[i]
			if c.Op != cdc.Insert && c.Op != cdc.Truncate {
				if c.Old = in.mirror.Row(c.Relation.Table, c.Key); c.Old == nil {
					continue
				}
			}
			in.mapper.Refs(&c, in.mirror.Want)
		}
	}
	return in.loadAll()
}

func (in *ingest) wantOld(c *cdc.Change) {
	in.mirror.Want(mapping.Ref{Table: c.Relation.Table, Key: c.Key})
	if c.Moved {
		in.mirror.Want(mapping.Ref{Table: c.Relation.Table, Key: c.From})
	}
}

func (in *ingest) loadAll() error {
	for in.mirror.Wanting() {
		err := in.mirror.Load(func(t *cdc.Table, row cdc.Row) { in.mapper.RefsOf(t, row, in.mirror.Want) })
		if err != nil {
			return err
		}
	}
	return nil
}

// transact maps one small transaction and makes it visible to the next. It returns the id of the last event.
func (in *ingest) transact(ctx context.Context, tx *cdc.Transaction, changes []cdc.Change, chunk *outbox.Chunk, last int64) (int64, error) {
	if len(changes) == 0 {
		return last, nil
	}
	net, err := mapping.Fold(changes)
	if err != nil {
		return last, err
	}
	net, err = in.resolve(ctx, net)
	if err != nil {
		return last, err
	}
	last = in.releaseHeld(tx.Time, chunk, last)
	mapped := in.mapper.Begin(mapping.Commit{LSN: tx.Commit, Time: tx.Time}, in.mirror)
	mapped.Observe(net)
	first := len(chunk.Events)
	emit := func(e mapping.Event) error { in.emit(&e, tx, chunk); return nil }
	if mapped.Grouping() {
		if err := mapped.Group(net); err != nil {
			return last, err
		}
	}
	if err := mapped.Map(net, emit); err != nil {
		return last, err
	}
	last = number(chunk.Events[first:], last)
	in.cancelHeld(mapped.Follows(), tx, chunk)
	for i := range net {
		in.mirror.Apply(&net[i])
	}
	in.subs.followRoots(in.mapper, net)
	chunk.Webhooks = append(chunk.Webhooks, in.subs.follow(in.mapper, net, in.mirror, last)...)
	return last, nil
}

// resolve completes net changes from the mirror and drops those that change nothing.
func (in *ingest) resolve(ctx context.Context, net []cdc.Change) ([]cdc.Change, error) {
	kept := net[:0]
	for i := range net {
		c := &net[i]
		old := in.mirror.Row(c.Relation.Table, c.Key)
		if c.Moved { // also where the key was another row's before
			mapping.ResolveFrom(c, in.mirror.Row(c.Relation.Table, c.From))
		}
		if !mapping.Resolve(c, old) {
			continue
		}
		if err := in.barrier.complete(ctx, c); err != nil {
			return nil, err
		}
		kept = append(kept, *c)
	}
	return kept, nil
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
func (in *ingest) emit(e *mapping.Event, tx *cdc.Transaction, chunk *outbox.Chunk) {
	entry := outbox.Event{
		WebhookID: webhookID(in.systemID, in.timeline, tx.Commit, e.Index), Name: e.Name, Tenant: string(e.Tenant), Resource: e.Resource,
		Occurred: tx.Time, LSN: tx.Commit, Ordinal: e.Index, Body: e.Body, Webhooks: in.subs.match(e),
		Reconciled: in.reconciling,
	}
	if e.Hold != nil {
		h := outbox.Held{Event: entry, Match: e.Hold.Match, Until: tx.Time.Add(e.Hold.Within)}
		in.held.add(h)
		chunk.AddHeld(h)
		return
	}
	chunk.Add(entry)
}

// idle stores the place that an idle source has reached, now and then, so that the server can let go of its log.
func (in *ingest) idle(ctx context.Context, lsn cdc.LSN) error {
	in.monitor.idle(lsn)
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
	chunk, began := &outbox.Chunk{}, time.Now()
	if err := in.leader.Commit(ctx, chunk, lsn, in.lastEvent); err != nil {
		return err
	}
	in.committed(chunk, lsn, in.lastEvent, began)
	return nil
}
