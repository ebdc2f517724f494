package ingest

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simStream hands over the WAL of a simIAM. The mutex of the outbox guards the IAM, too.
type simStream struct {
	*simulation
	wake, ping chan struct{}
}

func (st *simStream) Ping() {
	select {
	case st.ping <- struct{}{}:
	default:
	}
}

// Acknowledge checks that the outbox has what the server may now forget.
func (st *simStream) Acknowledge(lsn cdc.LSN) {
	st.outbox.mu.Lock()
	defer st.outbox.mu.Unlock()
	if lsn > st.outbox.state.position.LSN {
		st.judge.fault("%s is acknowledged, and the outbox has everything up to %s", lsn, st.outbox.state.position.LSN)
	}
}

// next returns the first transaction after a position, or the end of the WAL.
func (st *simStream) next(after cdc.LSN) (*simTransaction, cdc.LSN) {
	st.outbox.mu.Lock()
	defer st.outbox.mu.Unlock()
	for _, tx := range st.iam.wal {
		if tx.end > after {
			return tx, tx.end
		}
	}
	return nil, st.iam.lsn
}

// run streams what follows a position until ctx ends.
func (st *simStream) run(ctx context.Context, after cdc.LSN, messages chan<- cdc.Message) {
	keepalive := time.NewTicker(10 * time.Second)
	defer keepalive.Stop()
	var mark *cdc.HistoryMark
	for {
		tx, end := st.next(after)
		var m cdc.Message
		switch {
		case tx == nil:
			select {
			case <-ctx.Done():
				return
			case <-st.wake:
				continue
			case <-st.ping:
			case <-keepalive.C:
			}
			if tx, end = st.next(after); tx != nil {
				continue
			}
			m = cdc.Message{Idle: end, Mark: mark}
		case len(tx.changes) == 0 && tx.xid%2 == 0:
			after, mark = end, &cdc.HistoryMark{Commit: tx.commit, XID: tx.xid, Time: tx.at}
			continue
		default:
			after, mark = end, nil
			m.Transaction = st.build(tx)
		}
		select {
		case <-ctx.Done():
			if m.Transaction != nil {
				_ = m.Transaction.Close() // it fails like those that ingestion closes
			}
			return
		case messages <- m:
		}
	}
}

// build returns the transaction as the decoder hands it over: spilled if it exceeds the memory limit. The pieces of streamed transactions can
// come in any order.
func (st *simStream) build(tx *simTransaction) *cdc.Transaction {
	spool := cdc.NewSpool(st.dir, st.limits.spill)
	changes := slices.Clone(tx.changes)
	if half := len(changes) / 2; tx.xid%3 == 0 {
		changes = slices.Concat(changes[half:], changes[:half])
	}
	for _, c := range changes {
		c.New = slices.Clone(c.New)
		if err := spool.Add(c); err != nil {
			panic(err)
		}
	}
	built, err := spool.Transaction()
	if err != nil {
		panic(err)
	}
	built.Commit, built.End, built.Time, built.XID = tx.commit, tx.end, tx.at, tx.xid
	return built
}

// simDispatcher checks what is passed on to delivery: each event once, in order, after its commit, for webhooks that are known.
type simDispatcher struct {
	*simOutbox
	head  int64
	known map[int64]bool
}

func (d *simDispatcher) TakeForgotten() []int64 { return nil }

func (d *simDispatcher) Update(webhooks []outbox.Webhook) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range webhooks {
		d.known[webhooks[i].ID] = true
	}
}

func (d *simDispatcher) Dispatch(events []outbox.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range events {
		e := &events[i]
		if d.head++; e.ID != d.head {
			d.judge.fault("delivery gets event %d, and expects %d", e.ID, d.head)
		}
		if e.ID > int64(len(d.state.events)) || d.state.events[e.ID-1].WebhookID != e.WebhookID {
			d.judge.fault("delivery gets event %d, which is not committed", e.ID)
		}
		d.checkKnown(e)
	}
}

func (d *simDispatcher) checkKnown(e *outbox.Event) {
	for _, id := range e.Webhooks {
		if !d.known[id] {
			d.judge.fault("delivery gets event %d, and does not know webhook %d", e.ID, id)
		}
	}
}

func (d *simDispatcher) Skip(head int64, webhooks map[int64]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if head > int64(len(d.state.events)) || head < d.head {
		d.judge.fault("delivery, which is at event %d, is to read up to event %d of %d", d.head, head, len(d.state.events))
		return
	}
	for ; d.head < head; d.head++ {
		e := &d.state.events[d.head]
		d.checkKnown(e)
		for _, id := range e.Webhooks {
			if !webhooks[id] {
				d.judge.fault("delivery does not learn that webhook %d gets event %d", id, e.ID)
			}
		}
	}
}

type simMonitor struct{}

func (simMonitor) Ingested(cdc.LSN, int) {}
func (simMonitor) Idle(cdc.LSN)          {}

// simSnapshot reads the tables as they were.
type simSnapshot struct {
	*simIAM
	rows simRows
}

func (s simSnapshot) Close() {}

func (s simSnapshot) Copy(_ context.Context, table *cdc.Table, each func(cdc.Row) error) error {
	for _, id := range slices.Sorted(maps.Keys(s.rows[table.Name])) {
		if err := each(s.asRow(table.Name, s.rows[table.Name][id])); err != nil {
			return err
		}
	}
	return nil
}

func (s simSnapshot) Row(_ context.Context, table *cdc.Table, key []string) (cdc.Row, error) {
	row, ok := s.rows[table.Name][key[0]]
	if !ok {
		return nil, nil //nolint:nilnil // there is no such row
	}
	return s.asRow(table.Name, row), nil
}

// simSession is a session of a leading relay.
type simSession struct {
	leader *simLeader
	stream *simStream
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // once it has ended
}

// start starts a session of a new leader. reconcile asks for a reconciliation when the stream reaches the present end of the WAL.
func (s *simulation) start(reconcile bool) {
	ctx, cancel := context.WithCancel(context.Background())
	session := &simSession{
		leader: s.outbox.lead(), stream: &simStream{simulation: s, wake: make(chan struct{}, 1), ping: make(chan struct{}, 1)},
		cancel: cancel, ended: make(chan struct{}),
	}
	s.sessions = append(s.sessions, session)
	plan := &SnapshotPlan{Catalog: s.iam.catalog, Mapped: s.tables, Compared: s.tables}
	r := &Reconciliation{SnapshotPlan: plan, Record: outbox.Reconciliation{Reason: "simulated"}}
	s.outbox.mu.Lock()
	position := s.outbox.state.position
	last := len(s.iam.wal) - 1
	switch {
	case last >= 0 && s.iam.wal[last].reconciled && s.iam.wal[last].end > position.LSN: // the slot was lost
		gap := s.iam.wal[last]
		start := position.Position
		start.LSN = gap.end
		r.Start, r.Snapshot = &start, &Snapshot{SnapshotRows: simSnapshot{s.iam, gap.after}, LSN: gap.end, Time: gap.at}
	case reconcile:
		r.Snapshot = &Snapshot{SnapshotRows: simSnapshot{s.iam, s.iam.rows}, LSN: s.iam.lsn, Time: s.iam.now}
	default:
		r = nil
	}
	d := &simDispatcher{simOutbox: s.outbox, head: position.LastEvent, known: map[int64]bool{}}
	for id := range s.outbox.state.webhooks {
		d.known[id] = true
	}
	s.outbox.mu.Unlock()
	go func() {
		defer close(session.ended)
		session.err = s.session(ctx, session, d, plan, r)
	}()
}

func (s *simulation) session(ctx context.Context, session *simSession, d *simDispatcher, plan *SnapshotPlan, r *Reconciliation) error {
	mapper, err := s.iam.catalog.bind(s.rules)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	working := context.Background()
	in, err := New(working, Config{
		Leader: session.leader, Store: s.outbox, Dispatcher: d, Monitor: simMonitor{}, Metrics: admin.NewMetrics(prometheus.NewRegistry()),
		Warnings: NewWarnings(log), Log: log, Mapper: mapper, Owners: mapper.OwnerColumns(), Plan: plan, Server: simServer, Tables: s.tables,
		IAMWebhooks: true, BatchRows: s.limits.batchRows, SpillDir: s.dir, SpillBytes: s.limits.spill,
		SourceClock: func(context.Context) (cdc.LSN, time.Time, error) {
			s.outbox.mu.Lock()
			defer s.outbox.mu.Unlock()
			return s.iam.lsn, s.iam.now, nil
		},
		Finished: func(_ outbox.Reconciliation, err error) error { return err },
	})
	if err != nil {
		return err
	}
	in.limits = s.limits.limits
	if r != nil && r.Start != nil {
		if err := in.Reconcile(working, r); err != nil {
			return err
		}
		r = nil
	}
	in.Await(r)
	messages := make(chan cdc.Message, 16)
	streaming, stop := context.WithCancel(ctx)
	go func() {
		defer close(messages)
		session.stream.run(streaming, in.Stored(), messages)
	}()
	err = in.Run(ctx, working, session.stream, messages)
	stop()
	for m := range messages {
		if m.Transaction != nil {
			err = errors.Join(err, m.Transaction.Close())
		}
	}
	return err
}
