package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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
	conn, err := connectSource(ctx, string(t.config.Source.URL))
	if err != nil {
		return err
	}
	clock := &sourceClock{url: string(t.config.Source.URL), conn: conn}
	defer clock.close(context.WithoutCancel(ctx))
	server, catalog, err := t.inspect(ctx, conn)
	if err != nil {
		return err
	}
	mapper, err := bind(t.rules, catalog)
	if err != nil {
		return err
	}
	owners := mapper.Owners()
	if err := t.begin(ctx, conn, server, catalog, owners); err != nil {
		return err
	}
	in, err := t.newIngest(ctx, clock, server, mapper, owners)
	if err != nil {
		return &ingestError{err}
	}
	if in.barrier, err = t.newBackfill(ctx, catalog, owners); err != nil {
		return err
	}
	if in.barrier != nil {
		defer in.barrier.snapshot.Close()
	}
	return t.stream(ctx, in, catalog)
}

// inspect checks the server and the mapped tables, and makes or extends the publication where it may.
func (t *term) inspect(ctx context.Context, conn *pgx.Conn) (cdc.Server, *cdc.Catalog, error) {
	server, err := cdc.Inspect(ctx, conn)
	if err != nil {
		return server, nil, err
	}
	if server.WALLevel != "logical" {
		return server, nil, fmt.Errorf("the server's wal_level is %s; set wal_level = logical in its configuration and restart it", server.WALLevel)
	}
	catalog, err := cdc.Describe(ctx, conn, t.rules.Tables())
	if err != nil {
		return server, nil, err
	}
	if problems := catalog.Problems(); len(problems) > 0 {
		texts := make([]string, len(problems))
		for i, p := range problems {
			texts[i] = p.String()
		}
		return server, nil, errors.New(strings.Join(texts, "\n"))
	}
	return server, catalog, t.publish(ctx, conn)
}

func (t *term) publish(ctx context.Context, conn *pgx.Conn) error {
	name, tables := t.config.Source.Publication, t.rules.Tables()
	status, err := cdc.PublicationStatus(ctx, conn, name, tables)
	if err != nil {
		return err
	}
	if problems := status.Problems(); len(problems) > 0 {
		return fmt.Errorf("publication %s: %s", name, strings.Join(problems, "\n"))
	}
	hazards, err := cdc.MappedHazards(ctx, conn, name, tables)
	if err != nil {
		return err
	}
	for _, h := range hazards {
		t.log.Warn("a publication that is not the relay's makes statements of the IAM fail", "hazard", h.String())
	}
	sql := status.SQL()
	if len(sql) == 0 {
		return nil
	}
	doubted, err := t.leader.Doubt(ctx, status.Missing)
	if err != nil {
		return &ingestError{err}
	}
	if len(doubted) > 0 {
		t.log.Error("tables were taken out of the publication or made anew: what was committed in them meanwhile is not told, they are read again",
			"publication", name, "tables", strings.Join(doubted, ", "))
	}
	if !t.config.Source.CreatePublication {
		return fmt.Errorf("publication %s does not publish all mapped tables; let their owner run: %s", name, strings.Join(sql, "; "))
	}
	if _, err := cdc.EnsurePublication(ctx, conn, name, tables); err != nil {
		return err
	}
	t.log.Info("publication brought up to date", "publication", name)
	return nil
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

// begin makes sure that the outbox has a position in this server's log: it checks the stored one, or makes the slot and the
// first copy.
func (t *term) begin(ctx context.Context, conn *pgx.Conn, server cdc.Server, catalog *cdc.Catalog, owners map[*cdc.Table]int) error {
	position, err := t.store.Position(ctx)
	if err != nil {
		return &ingestError{err}
	}
	slot, err := cdc.Slot(ctx, conn, t.config.Source.Slot)
	if err != nil {
		return err
	}
	if position.State == outbox.StateStreaming {
		if err := cdc.CheckPosition(server, slot, position.Position); err != nil || !slot.Active {
			return err
		}
		return t.evict(ctx, conn, slot)
	}
	if slot.Exists {
		if position.State != outbox.StateCopying || position.Slot != slot.Name {
			return fmt.Errorf("slot %s exists, but this outbox has never read from it: drop it, or choose another source.slot", slot.Name)
		}
		if err := cdc.DropSlot(ctx, conn, slot.Name); err != nil { // ours, from a first copy that did not end
			return err
		}
	}
	return t.firstCopy(ctx, server, catalog, owners)
}

// evict ends the stream of a former leader that is frozen or cut off: it can write nothing any more, and the server would
// notice only after wal_sender_timeout.
func (t *term) evict(ctx context.Context, conn *pgx.Conn, slot cdc.SlotStatus) error {
	ended, err := cdc.EndStream(ctx, conn, slot)
	if ended {
		t.log.Info("ended the stream of the relay that led before", "slot", slot.Name)
	}
	return err
}

// firstCopy makes the slot and fills the mirror from its snapshot. It emits nothing.
func (t *term) firstCopy(ctx context.Context, server cdc.Server, catalog *cdc.Catalog, owners map[*cdc.Table]int) error {
	if err := t.leader.StartCopy(ctx, t.config.Source.Slot); err != nil {
		return &ingestError{err}
	}
	t.log.Info("first start: making the slot and copying the mapped tables", "slot", t.config.Source.Slot)
	snapshot, err := cdc.CreateSlot(ctx, string(t.config.Source.URL), t.config.Source.Slot, false)
	if err != nil {
		return err
	}
	defer snapshot.Close()
	b := &backfill{snapshot: snapshot, catalog: catalog, tables: t.rules.Tables(), mapped: t.rules.Tables()}
	return b.copy(ctx, t.leader, t.log, owners, &cdc.Position{
		SystemID: server.SystemID, Timeline: server.Timeline, Database: server.Database, Slot: t.config.Source.Slot, LSN: snapshot.LSN,
	})
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
		held: &held{count: holding, first: due}, systemID: server.SystemID, timeline: server.Timeline, stored: position.LSN, lastEvent: position.LastEvent,
		batchRows: t.config.Outbox.Batch, spillDir: t.config.Source.SpillDir, spillAt: int(t.config.Source.MemoryLimit.Bytes),
		dispatch: t.dispatch, monitor: t.monitor, metrics: t.metrics, log: t.log,
	}
	in.clock = &logClock{log: t.log, ask: clock.ask}
	in.changes.store = t.store
	in.subs.fromIAM, in.subs.log = t.config.Delivery.IAMWebhooks, t.log
	return in, in.readSubscriptions(ctx)
}

// stream runs the source and ingest side by side until one of them ends.
func (t *term) stream(ctx context.Context, in *ingest, catalog *cdc.Catalog) error {
	source := cdc.NewSource(cdc.SourceConfig{
		URL: string(t.config.Source.URL), Slot: t.config.Source.Slot, Publication: t.config.Source.Publication,
		Tables: t.rules.Tables(), Catalog: catalog, MemoryLimit: int(t.config.Source.MemoryLimit.Bytes),
		SpillDir: t.config.Source.SpillDir, WALSenderTimeout: t.config.Source.WALSenderTimeout.Duration, Logger: t.log,
	})
	in.acknowledge, in.clock.ping = source.Acknowledge, source.Ping
	if in.barrier != nil {
		t.log.Info("the mapping has gained tables or columns: copying them into the mirror", "tables", names(in.barrier.tables),
			"lsn", in.barrier.snapshot.LSN.String())
	}
	t.monitor.streams(source, in)
	t.log.Info("reading the log", "slot", t.config.Source.Slot, "from", in.stored.String())
	messages := make(chan cdc.Message, messageBuffer)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		// Not closed by a failure of the source: what has been handed over is still ingested.
		defer close(messages)
		return source.Stream(groupCtx, in.stored, messages)
	})
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
	if failed != nil {
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
