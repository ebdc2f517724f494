package monitor

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// slotPoll is how often the source server is asked about the slot and the outbox about lock waits. Retries are counted, which costs more,
// at every retriesEvery-th poll.
const (
	slotPoll     = 5 * time.Second
	retriesEvery = 2
)

// SlotConfig names the slot to watch and what that needs. All fields are required.
type SlotConfig struct {
	URL     string // of the source database
	Slot    string
	Warning int64 // bytes of retained WAL at which to warn, on a server without max_slot_wal_keep_size
	Store   *outbox.Store
	Log     *slog.Logger
}

// WatchSlot polls the source server about the slot, and the outbox about lock waits and retries, until ctx ends; it returns nil then.
// While a server cannot be asked, its values are unknown.
func (m *Monitor) WatchSlot(ctx context.Context, c SlotConfig) error {
	w := &slotMonitor{SlotConfig: c, monitor: m, retention: walRetention{log: c.Log, threshold: c.Warning}}
	defer func() {
		if w.conn != nil {
			w.conn.Close(context.WithoutCancel(ctx))
		}
	}()
	n := 0
	// A first start creates the slot after the first poll. The wake-up keeps it from being reported as missing.
	return loop.Every(ctx, slotPoll, loop.OnClose(ctx, m.Streaming), func(ctx context.Context) error {
		w.poll(ctx, n%retriesEvery == 0)
		n++
		return nil
	})
}

// slotMonitor polls the source server, over its own connection, and the outbox.
type slotMonitor struct {
	SlotConfig
	monitor   *Monitor
	retention walRetention
	conn      *pgx.Conn // nil while not connected
	blocked   bool      // it has been logged that a commit waits for a lock
}

const (
	statusLost    = "lost"
	statusMissing = "missing"
)

func (w *slotMonitor) poll(ctx context.Context, countRetries bool) {
	ctx, cancel := context.WithTimeout(ctx, slotPoll/2)
	defer cancel()
	w.pollOutbox(ctx, countRetries)
	status, err := w.slotStatus(ctx)
	m := w.monitor
	m.mu.Lock()
	m.slot = nil
	if err == nil {
		m.slot = slotOf(status)
		if status.Exists {
			m.observeEnd(status.Confirmed + cdc.LSN(max(status.LagBytes, 0)))
		}
	}
	m.mu.Unlock()
	if err == nil {
		w.retention.observe(status, func() string { return w.why(ctx, status) })
	}
}

func (w *slotMonitor) slotStatus(ctx context.Context) (cdc.SlotStatus, error) {
	if w.conn == nil || w.conn.IsClosed() {
		conn, err := cdc.Connect(ctx, w.URL)
		if err != nil {
			w.conn = nil
			return cdc.SlotStatus{}, err
		}
		w.conn = conn
	}
	return cdc.Slot(ctx, w.conn, w.Slot)
}

// pollOutbox keeps the last known lock wait if the outbox does not answer; the membership notices that failure itself.
func (w *slotMonitor) pollOutbox(ctx context.Context, countRetries bool) {
	wait, err := w.Store.IngestWait(ctx)
	m := w.monitor
	m.mu.Lock()
	if err == nil {
		m.lockWait = wait
	}
	m.mu.Unlock()
	if err == nil {
		w.reportLockWait(wait)
	}
	if !countRetries {
		return
	}
	counts, err := w.Store.RetryCounts(ctx)
	if err != nil {
		counts = nil
	}
	m.mu.Lock()
	m.retries = counts
	m.mu.Unlock()
}

// reportLockWait logs once that a commit to the outbox waits for another session's lock, in the words of /readyz and status, and once that
// it no longer does. Only the leader commits, so only the leader reports.
func (w *slotMonitor) reportLockWait(wait *outbox.LockWait) {
	w.monitor.mu.Lock()
	leads := w.monitor.leader != nil
	w.monitor.mu.Unlock()
	switch blocked := leads && wait != nil && wait.For > stuckAfter; {
	case blocked && !w.blocked:
		w.Log.Warn("the outbox is stuck", "why", wait.String())
		w.blocked = true
	case !blocked && w.blocked:
		w.Log.Info("the outbox is no longer stuck")
		w.blocked = false
	}
}

// why returns the reason for which WAL is retained, with its remedy.
func (w *slotMonitor) why(ctx context.Context, status cdc.SlotStatus) string {
	m := w.monitor
	m.mu.Lock()
	state, reason := m.currentState()
	if end := status.Confirmed + cdc.LSN(max(status.LagBytes, 0)); m.source != nil && m.stored > status.Confirmed {
		// The position of an idle source is acknowledged only now and then. That is not a lag.
		status.LagBytes = int64(end - min(end, m.stored))
	}
	m.mu.Unlock()
	if state != admin.Stuck {
		reason = ""
	}
	holder, err := cdc.OldestWALHolder(ctx, w.conn)
	if err != nil {
		holder = nil // the reason is given without it
	}
	return WhyRetained(status, reason, holder)
}

func slotOf(s cdc.SlotStatus) *admin.Slot {
	slot := &admin.Slot{
		Active: s.Active, Status: s.WALStatus, RetainedBytes: uint64(max(s.RetainedBytes, 0)), LagBytes: uint64(max(s.LagBytes, 0)),
		SafeBytes: s.SafeWALSize,
	}
	switch {
	case !s.Exists:
		slot.Status = statusMissing
	case s.Lost():
		slot.Status = statusLost
	}
	return slot
}
