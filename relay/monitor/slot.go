package monitor

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// SlotConfig says which slot is watched, and where.
type SlotConfig struct {
	URL     string // of the source
	Slot    string
	Warning int64 // bytes of retained WAL, for a server that keeps it without a limit
	Store   *outbox.Store
	Log     *slog.Logger
}

// WatchSlot keeps what the source's server says of the slot, and the outbox of itself, until ctx ends. What it cannot learn shows as
// unknown.
func (m *Monitor) WatchSlot(ctx context.Context, c SlotConfig) error {
	w := &slotMonitor{SlotConfig: c, monitor: m, retention: walRetention{log: c.Log, threshold: c.Warning}}
	defer func() {
		if w.conn != nil {
			w.conn.Close(context.WithoutCancel(ctx))
		}
	}()
	n := 0
	// The wake is for a first start, which has made the slot since: it must not show as missing.
	return loop.Every(ctx, slotPoll, loop.OnClose(ctx, m.Streaming), func(ctx context.Context) error {
		w.poll(ctx, n%parkedPoll == 0)
		n++
		return nil
	})
}

// slotWatch asks the source's server about the slot, over its own connection, and the store about itself.
type slotMonitor struct {
	SlotConfig
	monitor   *Monitor
	retention walRetention
	conn      *pgx.Conn // nil while there is none
	// blocked: the log has a line that a commit of the outbox waits for a lock.
	blocked bool
}

const (
	statusLost    = "lost"
	statusMissing = "missing"
)

func (w *slotMonitor) poll(ctx context.Context, parked bool) {
	ctx, cancel := context.WithTimeout(ctx, slotPoll/2)
	defer cancel()
	w.askStore(ctx, parked)
	status, err := w.ask(ctx)
	m := w.monitor
	m.mu.Lock()
	m.slot = nil
	if err == nil {
		m.slot = slotOf(status)
		if status.Exists {
			m.ends(status.Confirmed + cdc.LSN(max(status.LagBytes, 0)))
		}
	}
	m.mu.Unlock()
	if err == nil {
		w.retention.observe(status, func() string { return w.why(ctx, status) })
	}
}

func (w *slotMonitor) ask(ctx context.Context) (cdc.SlotStatus, error) {
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

// askStore leaves what ingest waits for as it was if the store does not answer: the shift learns of that by itself.
func (w *slotMonitor) askStore(ctx context.Context, parked bool) {
	wait, err := w.Store.IngestWait(ctx)
	m := w.monitor
	m.mu.Lock()
	if err == nil {
		m.wait = wait
	}
	m.mu.Unlock()
	if err == nil {
		w.reportWait(wait)
	}
	if !parked {
		return
	}
	counts, err := w.Store.RetryCounts(ctx)
	if err != nil {
		counts = nil
	}
	m.mu.Lock()
	m.parked = counts
	m.mu.Unlock()
}

// reportWait logs once that a commit of the outbox waits for another session's lock, in the words of /readyz and status, and once that it
// no longer does. Only the relay that leads commits, and only it reports.
func (w *slotMonitor) reportWait(wait *outbox.LockWait) {
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

func (w *slotMonitor) why(ctx context.Context, status cdc.SlotStatus) string {
	m := w.monitor
	m.mu.Lock()
	standing, reason := m.currentState()
	if end := status.Confirmed + cdc.LSN(max(status.LagBytes, 0)); m.source != nil && m.durable > status.Confirmed {
		// An idle source's position is acknowledged only now and then: that is no lag.
		status.LagBytes = int64(end - min(end, m.durable))
	}
	m.mu.Unlock()
	if standing != admin.Stuck {
		reason = ""
	}
	holder, err := cdc.OldestWALHolder(ctx, w.conn)
	if err != nil {
		holder = nil // it is a part of the message that cannot be had
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
