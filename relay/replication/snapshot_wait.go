package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
)

// PostgreSQL exports a slot's snapshot only after all transactions that were writing when the slot was created have ended, in any database
// of the server. The relay does not wait long: it streams without reading the tables, and tries again when those transactions have ended.
const (
	// minSnapshotWait is how long the first attempt delays the stream. Each further attempt may take twice as long, up to
	// maxSnapshotWait, so that one succeeds on a busy server.
	minSnapshotWait, maxSnapshotWait = 3 * time.Second, time.Minute
	// blockerPoll is how often the relay checks whether the transactions have ended.
	blockerPoll = time.Second
	// blockerReport is how often it reports the oldest of them.
	blockerReport = 5 * time.Second
)

// errSnapshotPossible ends a session so that the next one can take its table snapshot.
var errSnapshotPossible = errors.New("the transactions that blocked the table snapshot have ended")

// createSlot creates a slot and reports, in the log and in the state, which transaction delays it.
func (t *Replicator) createSlot(ctx context.Context, name string, temporary bool) (*cdc.Snapshot, error) {
	reporting, stop := context.WithCancel(ctx)
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		t.reportBlockers(reporting)
	}()
	defer func() {
		stop()
		<-reported
		t.Monitor.SetWaiting("")
	}()
	return cdc.CreateSlot(ctx, string(t.Settings.Source.URL), name, temporary)
}

// reportBlockers reports the blocking transaction every blockerReport until ctx ends.
func (t *Replicator) reportBlockers(ctx context.Context) {
	tick := time.NewTicker(blockerReport)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			t.reportBlocker(ctx)
		}
	}
}

// reportBlocker reports the oldest transaction that blocks the snapshot; nothing if the source cannot be asked.
func (t *Replicator) reportBlocker(ctx context.Context) {
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

// trySnapshot takes a snapshot, or returns nil if open transactions prevent it for now.
func (t *Replicator) trySnapshot(ctx context.Context, name string) (*cdc.Snapshot, error) {
	t.snapshotWait = min(max(2*t.snapshotWait, minSnapshotWait), maxSnapshotWait)
	bounded, cancel := context.WithTimeout(ctx, t.snapshotWait)
	defer cancel()
	snapshot, err := t.createSlot(bounded, name, true)
	if err == nil {
		t.snapshotWait = 0
		return snapshot, nil
	}
	if ctx.Err() == nil && errors.Is(bounded.Err(), context.DeadlineExceeded) {
		return nil, nil //nolint:nilnil // not possible yet
	}
	return nil, err
}

// awaitSnapshotPossible returns errSnapshotPossible once the transactions that were open when it was called have ended.
func (t *Replicator) awaitSnapshotPossible(ctx context.Context) error {
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
	t.reportBlocker(ctx)
	tick := time.NewTicker(blockerPoll)
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
