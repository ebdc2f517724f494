package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// A slot's snapshot is made when all transactions that were writing at that moment have ended, in any database of the server. While
// one of them stays open, the relay does not wait for it: it streams, without reading the tables, and tries again when those
// transactions have ended.
const (
	// firstCopyWait is how long the first attempt waits, and with it the stream; each further one waits twice as long, up to
	// mostCopyWait, so that on a busy server one succeeds.
	firstCopyWait, mostCopyWait = 3 * time.Second, time.Minute
	// holderPoll is how often is looked whether the transactions have ended, holderLog when and how often they are named.
	holderPoll, holderLog = time.Second, 5 * time.Second
)

// errPostponed ends a session whose tables can be read now.
var errSnapshotPossible = errors.New("the transactions that blocked the table snapshot have ended")

// createSlot makes a slot, and names in the log and the state who keeps it from being made.
func (t *Replicator) createSlot(ctx context.Context, name string, temporary bool) (*cdc.Snapshot, error) {
	watching, stop := context.WithCancel(ctx)
	named := make(chan struct{})
	go func() {
		defer close(named)
		t.nameHolder(watching)
	}()
	defer func() {
		stop()
		<-named
		t.Monitor.SetWaiting("")
	}()
	return cdc.CreateSlot(ctx, string(t.Settings.Source.URL), name, temporary)
}

// nameHolder says again and again who keeps the snapshot from being made. What cannot be asked is not said.
func (t *Replicator) nameHolder(ctx context.Context) {
	tick := time.NewTicker(holderLog)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.nameOnce(ctx)
		}
	}
}

func (t *Replicator) nameOnce(ctx context.Context) {
	conn, err := cdc.Connect(ctx, string(t.Settings.Source.URL))
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	holder, err := cdc.OldestWALHolder(ctx, conn)
	if err != nil || holder == nil {
		return
	}
	text := fmt.Sprintf("the table snapshot waits for %s; %s", holder, holder.Fix())
	t.Monitor.SetWaiting(text)
	t.Log.Warn("the table snapshot waits for an open transaction", "why", text)
}

// snapshotSoon makes a snapshot, or returns nil if open transactions keep it from being made for now.
func (t *Replicator) snapshotSoon(ctx context.Context, name string) (*cdc.Snapshot, error) {
	t.snapshotWait = min(max(2*t.snapshotWait, firstCopyWait), mostCopyWait)
	bounded, cancel := context.WithTimeout(ctx, t.snapshotWait)
	defer cancel()
	snapshot, err := t.createSlot(bounded, name, true)
	if err == nil {
		t.snapshotWait = 0
		return snapshot, nil
	}
	if ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		return nil, nil //nolint:nilnil // later
	}
	return nil, err
}

// watchHolders ends the session when the transactions have ended that were open at its beginning.
func (t *Replicator) watchHolders(ctx context.Context) error {
	conn, err := cdc.Connect(ctx, string(t.Settings.Source.URL))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	before, err := cdc.WritingTransactions(ctx, conn)
	if err != nil {
		return err
	}
	defer t.Monitor.SetWaiting("")
	t.nameOnce(ctx)
	tick := time.NewTicker(holderPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := cdc.WritingTransactions(ctx, conn)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(before, func(xid string) bool { return slices.Contains(now, xid) }) {
			return errSnapshotPossible
		}
	}
}
