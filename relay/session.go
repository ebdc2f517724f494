package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// ingestError is a failure of the outbox or of the mapping, as opposed to one of the source.
type ingestError struct{ err error }

func (e *ingestError) Error() string { return e.err.Error() }
func (e *ingestError) Unwrap() error { return e.err }

// messageBuffer is how many transactions may wait for ingest. While it has room the replication connection is read, and so
// the server's requests are answered, however long a commit to the outbox takes.
const messageBuffer = 1024

// session connects to the source, checks that the stored position is of its log, and ingests until something ends.
func (t *term) session(ctx context.Context) error {
	conn, err := cdc.Connect(ctx, string(t.config.Source.URL))
	if err != nil {
		return err
	}
	clock := &sourceClock{url: string(t.config.Source.URL), conn: conn}
	defer clock.close(context.WithoutCancel(ctx))
	found, err := t.inspect(ctx, conn)
	if err != nil {
		return err
	}
	server, catalog := found.server, found.catalog
	mapper, err := bind(t.rules, catalog)
	if err != nil {
		return err
	}
	mapper.OnConditionFailure(t.warned.conditionFailures(t.metrics))
	mapper.MaxBody(int(t.config.Outbox.MaxBody.Bytes))
	owners := mapper.Owners()
	found.owners = owners
	r, err := t.begin(ctx, found)
	if err != nil {
		return err
	}
	defer r.close()
	identities := found.survey.identities(server.Current, r.position())
	t.monitor.withholds(len(catalog.Withheld()))
	in, err := t.newIngest(ctx, clock, server, mapper, owners)
	if err != nil {
		return &ingestError{err}
	}
	if in.survey = found.survey; r != nil && r.start != nil {
		if err := t.startAnew(ctx, in, r); err != nil {
			return err
		}
	} else {
		in.barrier = r
	}
	return t.stream(ctx, in, found, identities)
}

func bind(rules *mapping.Rules, catalog *cdc.Catalog) (*mapping.Mapper, error) {
	var relations []*cdc.Relation
	for _, table := range rules.Tables() {
		if r := catalog.Relation(table.Name); r != nil {
			relations = append(relations, r)
		}
	}
	return rules.Bind(relations)
}

// newIngest builds the state of ingest from the store.
func (t *term) newIngest(ctx context.Context, clock *sourceClock, server cdc.Server, mapper *mapping.Mapper, owners map[*cdc.Table]int) (*ingest, error) {
	resealed, err := t.store.Reseal(ctx, t.rules.Tables())
	if err != nil {
		return nil, err
	}
	if resealed > 0 {
		t.log.Info("sealed anew what was not sealed with the first key of outbox.key_file", "rows", resealed)
	}
	position, err := t.store.Position(ctx)
	if err != nil {
		return nil, err
	}
	webhooks, err := t.store.LoadWebhooks(ctx)
	if err != nil {
		return nil, err
	}
	holding, due, err := t.store.Holding(ctx)
	if err != nil {
		return nil, err
	}
	in := &ingest{
		leader: t.leader, store: t.store, owners: owners, mapper: mapper, mirror: t.leader.NewMirror(owners), subs: newSubscriptions(webhooks),
		held: &held{count: holding, first: due}, systemID: server.SystemID, timeline: server.Timeline, stored: position.LSN, mark: position.Mark, lastEvent: position.LastEvent,
		batchRows: t.config.Outbox.Batch, spillDir: t.config.Source.SpillDir, spillAt: int(t.config.Source.MemoryLimit.Bytes),
		dispatch: t.dispatch, monitor: t.monitor, metrics: t.metrics, log: t.log, warned: t.warned,
	}
	names, column := t.rules.TenantName()
	in.names = outbox.TenantNames{Table: names.Name, Column: column}
	in.finished = t.finished
	in.acknowledge = func(cdc.LSN) {} // nothing is streamed yet
	in.clock = &logClock{log: t.log, ask: clock.ask}
	in.subs.fromIAM, in.subs.log = t.config.Delivery.IAMWebhooks, t.log
	return in, in.readSubscriptions(ctx)
}

// stream runs the source and ingest side by side until one of them ends.
func (t *term) stream(ctx context.Context, in *ingest, found *source, identities *cdc.Identities) error {
	source := cdc.NewSource(cdc.SourceConfig{
		URL: string(t.config.Source.URL), Slot: t.config.Source.Slot, Publication: t.config.Source.Publication,
		Server: found.server, Tables: t.rules.Tables(), Catalog: found.catalog, Identities: identities, Mark: in.mark, MemoryLimit: int(t.config.Source.MemoryLimit.Bytes),
		SpillDir: t.config.Source.SpillDir, WALSenderTimeout: t.config.Source.WALSenderTimeout.Duration, Logger: t.log,
	})
	in.acknowledge, in.clock.ping = source.Acknowledge, source.Ping
	t.monitor.streams(source, in)
	t.log.Info("reading the log", "slot", t.config.Source.Slot, "from", in.stored.String())
	messages := make(chan cdc.Message, messageBuffer)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		// Not closed by a failure of the source: what has been handed over is still ingested.
		defer close(messages)
		return source.Stream(groupCtx, in.stored, messages)
	})
	begun := in.barrier
	group.Go(func() error { return t.watchSource(groupCtx, found, begun) })
	if begun.pending() {
		group.Go(func() error { return t.watchHolders(groupCtx) })
	}
	var failed error
	group.Go(func() error {
		working, cancel := grace(ctx, commitGrace)
		defer cancel()
		if failed = in.run(ctx, working, messages); failed != nil {
			return failed
		}
		return nil
	})
	err := group.Wait()
	for m := range messages {
		if m.Transaction != nil {
			err = errors.Join(err, m.Transaction.Close())
		}
	}
	if failed != nil && !errors.Is(failed, errAnew) && !errors.Is(failed, errFinished) {
		return &ingestError{failed}
	}
	return err
}

// commitGrace is how long a commit that has begun may take to end at shutdown.
const commitGrace = 5 * time.Second

func names(tables []*cdc.Table) string {
	all := make([]string, len(tables))
	for i, t := range tables {
		all[i] = t.Name
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
