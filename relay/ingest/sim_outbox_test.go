package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// simOutbox is an outbox in memory, with the rules of the SQL. Its judge checks each commit.
type simOutbox struct {
	mu     sync.Mutex
	state  *simState
	epoch  int64
	ids    int64 // of reconciliations and operational events
	limits outbox.MirrorLimits
	judge  *simJudge

	trouble simTrouble
	after   int // operations from now until the trouble
}

// simTrouble is what happens to an operation of a leader.
type simTrouble int

const (
	noTrouble   simTrouble = iota
	failsBefore            // the connection breaks before the operation has an effect
	failsAfter             // … and after that
	crashes                // the relay ends
	isUsurped              // another relay takes over
	troubles
)

// arm lets the trouble happen after some operations.
func (o *simOutbox) arm(t simTrouble, after int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.trouble, o.after = t, after
}

// simLeader is the leadership of one epoch.
type simLeader struct {
	*simOutbox
	epoch   int64
	crashed atomic.Bool // nothing that it does has an effect any more
}

func (o *simOutbox) lead() *simLeader {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.epoch++
	return &simLeader{simOutbox: o, epoch: o.epoch}
}

var errLost = fmt.Errorf("simulated: the connection is lost: %w", io.ErrUnexpectedEOF)

// do carries out an operation, unless there is trouble. The caller holds the mutex.
func (l *simLeader) do(operation func() error) error {
	trouble := noTrouble
	if l.trouble != noTrouble {
		if l.after--; l.after < 0 {
			trouble, l.trouble = l.trouble, noTrouble
		}
	}
	switch trouble {
	case crashes:
		l.crashed.Store(true)
	case isUsurped:
		l.simOutbox.epoch++
	case failsBefore:
		return errLost
	case failsAfter:
		if err := l.do(operation); err != nil {
			return err
		}
		return errLost
	}
	if l.crashed.Load() {
		return errLost
	}
	return operation()
}

// fenced reports whether another relay leads.
func (l *simLeader) fenced() error {
	if l.epoch != l.simOutbox.epoch {
		return fmt.Errorf("epoch %d: %w", l.epoch, outbox.ErrFenced)
	}
	return nil
}

// replace commits a new state, which the judge compares with the present one.
func (l *simLeader) replace(state *simState) error {
	if err := l.fenced(); err != nil {
		return err
	}
	l.judge.committed(l.state, state)
	l.state = state
	return nil
}

func (l *simLeader) Commit(_ context.Context, chunk *outbox.Chunk, end cdc.LSN, lastEvent int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.do(func() error {
		if err := l.fenced(); err != nil {
			return err
		}
		next := l.state.clone()
		chunk.Canceled = 0
		next.write(chunk, l.judge.fault)
		next.advance(end, lastEvent, chunk.Mark)
		return l.replace(next)
	})
}

func (s *simState) advance(end cdc.LSN, lastEvent int64, mark *cdc.HistoryMark) {
	s.position.LSN, s.position.LastEvent = end, lastEvent
	if mark != nil && mark.XID != 0 {
		s.position.Mark.Commit, s.position.Mark.XID, s.position.Mark.Time = mark.Commit, mark.XID, mark.Time
	}
	if mark != nil && mark.Floor != 0 {
		s.position.Mark.Floor = mark.Floor
	}
}

func (l *simLeader) SaveWebhooks(_ context.Context, webhooks []outbox.Webhook) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.do(func() error {
		if err := l.fenced(); err != nil || len(webhooks) == 0 {
			return err
		}
		for _, w := range webhooks {
			l.state.webhooks[w.ID] = w
		}
		return nil
	})
}

func (l *simLeader) DelayedDue(_ context.Context, now time.Time, limit int) (due []outbox.DelayedEvent, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.do(func() error {
		due = l.state.due(now, limit)
		return nil
	})
	return due, err
}

func (l *simLeader) NewMirror(owners map[*cdc.Table]int) *outbox.Mirror {
	return outbox.NewMirror(l, owners, l.limits)
}

// Read and Page are outbox.MirrorStore, outside large transactions.
func (l *simLeader) Read(ctx context.Context, wanted ...outbox.Wanted) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.do(func() error { return l.state.Read(ctx, wanted...) })
}

func (l *simLeader) Page(ctx context.Context, p outbox.MirrorPage, each func(outbox.StoredRow) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.do(func() error { return l.state.Page(ctx, p, each) })
}

// The methods of Store.

func (o *simOutbox) Reencrypt(context.Context, []*cdc.Table) (int, error) { return 0, nil }

func (o *simOutbox) Position(context.Context) (outbox.Position, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.position, nil
}

func (o *simOutbox) LoadWebhooks(context.Context) ([]outbox.Webhook, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.loadWebhooks(), nil
}

func (o *simOutbox) ChangedWebhooks(context.Context, *outbox.WebhookChanges) ([]outbox.Webhook, error) {
	return nil, nil
}

func (o *simOutbox) DelayedCount(context.Context) (int, time.Time, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.state.delayed) == 0 {
		return 0, time.Time{}, nil
	}
	return len(o.state.delayed), o.state.delayed[0].Due, nil
}

// notice records an operational event about a webhook.
func (o *simOutbox) notice(webhook int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids++
	o.state.notices = append(o.state.notices, outbox.OperationalEvent{ID: o.ids, At: time.Now(), Webhook: webhook, Name: "endpoint.paused", Data: json.RawMessage("{}")})
}

func (o *simOutbox) OperationalEvents(_ context.Context, limit int) ([]outbox.OperationalEvent, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.state.notices[:min(limit, len(o.state.notices))]), nil
}

func (o *simOutbox) TenantsNamed(context.Context, string, string, string) ([]string, error) {
	return nil, errors.New("the simulation has no webhooks of a tenant's name")
}

func (o *simOutbox) Rows(_ context.Context, tables []*cdc.Table) (n int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key := range o.state.mirror {
		if slices.ContainsFunc(tables, func(t *cdc.Table) bool { return t.Name == key.Table }) {
			n++
		}
	}
	return n, nil
}

func (o *simOutbox) BeginReconciliation(_ context.Context, r *outbox.Reconciliation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ids++
	r.ID, r.State = o.ids, outbox.ReconciliationRunning
	return nil
}

func (o *simOutbox) UpdateReconciliation(context.Context, *outbox.Reconciliation) error { return nil }

func (o *simOutbox) EndReconciliation(context.Context, *outbox.Reconciliation) error { return nil }
