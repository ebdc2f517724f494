package replication

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/ingest"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// ingestError marks a failure of the outbox or of the mapping, as opposed to one of the source.
type ingestError struct{ err error }

func (e *ingestError) Error() string { return e.err.Error() }
func (e *ingestError) Unwrap() error { return e.err }

// messageBuffer is how many transactions may wait for ingest, so that a slow commit does not stop the reading of the connection.
const messageBuffer = 1024

// session connects to the source, decides how to resume, and ingests until something fails or ctx ends.
func (t *Replicator) session(ctx context.Context) error {
	conn, err := cdc.Connect(ctx, string(t.Settings.Source.URL))
	if err != nil {
		return err
	}
	clock := &sourceClock{url: string(t.Settings.Source.URL), conn: conn}
	defer clock.close(context.WithoutCancel(ctx))
	found, err := t.inspect(ctx, conn)
	if err != nil {
		return err
	}
	server, catalog := found.server, found.catalog
	mapper, err := bind(t.Rules, catalog)
	if err != nil {
		return err
	}
	mapper.OnConditionFailure(t.Warnings.ConditionFailures(t.Metrics))
	mapper.SetMaxBody(int(t.Settings.Outbox.MaxBody.Bytes))
	owners := mapper.OwnerColumns()
	found.owners = owners
	r, err := t.prepare(ctx, found)
	if err != nil {
		return err
	}
	defer r.Close()
	watch := t.newSchemaWatch(found, clock)
	defer watch.close(context.WithoutCancel(ctx))
	identities := found.plan.Identities(server.Current, r.Position())
	t.Monitor.SetWithheld(catalog.Withheld())
	names, column := t.Rules.TenantNameColumn()
	in, err := ingest.New(ctx, ingest.Config{
		Leader: ingest.NewLeader(t.Leader), Store: t.Store, Dispatcher: t.Dispatcher, Monitor: t.Monitor, Metrics: t.Metrics, Warnings: t.Warnings, Log: t.Log,
		Mapper: mapper, Owners: owners, Plan: found.plan, Server: server, Tables: t.Rules.Tables(),
		TenantNames: outbox.TenantNames{Table: names, Column: column}, IAMWebhooks: t.Settings.Delivery.IAMWebhooks,
		BatchRows: t.Settings.Outbox.Batch, SpillDir: t.Settings.Source.SpillDir, SpillBytes: int(t.Settings.Source.MemoryLimit.Bytes),
		SourceClock: clock.read, VerifySource: watch.verify, Finished: t.finished,
	})
	if err != nil {
		return &ingestError{err}
	}
	if r != nil && r.Start != nil {
		if err := t.startFromSnapshot(ctx, in, r); err != nil {
			return err
		}
		r = nil
	}
	return t.stream(ctx, in, found, watch, identities, r)
}

// bind binds the rules to the tables that exist.
func bind(rules *mapping.Rules, catalog *cdc.Catalog) (*mapping.Mapper, error) {
	var relations []*cdc.Relation
	for _, table := range rules.Tables() {
		if r := catalog.Relation(table); r != nil {
			relations = append(relations, r)
		}
	}
	return mapping.Bind(rules, relations)
}

// stream runs the source, ingest and the watches of the schema side by side until one of them ends the session.
func (t *Replicator) stream(ctx context.Context, in *ingest.Ingester, found *sourceState, watch *schemaWatch, identities *cdc.Identities, r *ingest.Reconciliation) error {
	source := cdc.NewSource(cdc.SourceConfig{
		URL: string(t.Settings.Source.URL), Slot: t.Settings.Source.Slot, Publication: t.Settings.Source.Publication,
		Server: found.server, Tables: t.Rules.Tables(), Catalog: found.catalog, Identities: identities, Mark: in.Mark(), MemoryLimit: int(t.Settings.Source.MemoryLimit.Bytes),
		SpillDir: t.Settings.Source.SpillDir, WALSenderTimeout: t.Settings.Source.WALSenderTimeout.Duration, Logger: t.Log,
	})
	in.Await(r)
	t.Monitor.SetStreaming(source, in.Stored(), in.Delayed())
	t.Log.Info("streaming the WAL", "slot", t.Settings.Source.Slot, "from", in.Stored().String())
	messages := make(chan cdc.Message, messageBuffer)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		// A failure of the source also closes the channel, so that ingest still commits what has been handed over.
		defer close(messages)
		return source.Stream(groupCtx, in.Stored(), messages)
	})
	group.Go(func() error { return t.watchSource(groupCtx, watch, r) })
	if r.Pending() {
		group.Go(func() error { return t.awaitSnapshotPossible(groupCtx) })
	}
	var failed error
	group.Go(func() error {
		working, cancel := loop.Grace(ctx, commitGrace)
		defer cancel()
		if failed = in.Run(ctx, working, source, messages); failed != nil {
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
	if failed == nil || endsSession(failed) {
		return err
	}
	return &ingestError{failed}
}

// endsSession reports whether ingestion ended for a reason that is no failure of the outbox or of the mapping.
func endsSession(err error) bool {
	_, unverified := errors.AsType[*verificationError](err)
	return unverified || errors.Is(err, errSchemaChanged) || errors.Is(err, ingest.ErrRestartSession) || errors.Is(err, ErrDone)
}

// commitGrace is how long a started commit may take after the relay is stopped.
const commitGrace = 5 * time.Second
