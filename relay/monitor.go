package relay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// monitor knows how the relay stands: for readiness, metrics and the log.
type monitor struct {
	mu       sync.Mutex
	leader   *outbox.Leader // nil while another relay leads, or none
	standby  bool
	dispatch *dispatcher
	source   *cdc.Source // nil while no log is read
	durable  cdc.LSN
	through  time.Time // the log is in the outbox up to here, as this machine's clock saw it
	held     int
	slot     *admin.Slot
	parked   map[int64]outbox.ParkedCount

	streaming     chan struct{} // closed once a log is read for the first time
	onceStreaming sync.Once

	outboxErr, sourceErr error
}

func newMonitor() *monitor { return &monitor{streaming: make(chan struct{})} }

// works: the relay shares in delivering.
func (m *monitor) works(d *dispatcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dispatch = d
}

func (m *monitor) leads(l *outbox.Leader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leader, m.standby = l, false
	if l == nil {
		m.source = nil
	} else {
		m.outboxErr = nil
	}
}

func (m *monitor) standsBy() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.standby, m.outboxErr = true, nil
}

func (m *monitor) streams(s *cdc.Source, in *ingest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.durable, m.held, m.sourceErr = s, in.stored, in.held.len(), nil
	m.onceStreaming.Do(func() { close(m.streaming) })
}

func (m *monitor) sourceFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.sourceErr = nil, err
}

func (m *monitor) outboxFailed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outboxErr = err
}

func (m *monitor) ingested(end cdc.LSN, held int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durable, m.held, m.through = end, held, time.Now()
}

// idle: everything before lsn has been handed over, and nothing of it is pending.
func (m *monitor) idle(lsn cdc.LSN) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durable, m.through = max(m.durable, lsn), time.Now()
}

// silence is how long the server may say nothing before the replication is taken for dead. It speaks at least every half of
// wal_sender_timeout.
const silence = 30 * time.Second

// checks is what readiness is made of.
func (m *monitor) checks() []admin.Check {
	m.mu.Lock()
	defer m.mu.Unlock()
	store := admin.Check{Name: "outbox", OK: m.outboxErr == nil && (m.leader != nil || m.standby)}
	replication := admin.Check{Name: "replication"}
	switch {
	case m.outboxErr != nil:
		store.Detail = m.outboxErr.Error()
	case !store.OK:
		store.Detail = "not connected yet"
	}
	switch {
	case m.standby:
		replication.OK, replication.Detail = true, "another relay leads, standing by"
	case m.source == nil && m.sourceErr != nil:
		replication.Detail = m.sourceErr.Error()
	case m.source == nil:
		replication.Detail = "not streaming yet"
	case m.source.LastMessage().IsZero():
		replication.Detail = "connecting: nothing heard from the server yet"
	case time.Since(m.source.LastMessage()) > silence:
		replication.Detail = fmt.Sprintf("nothing heard from the server for %s", time.Since(m.source.LastMessage()).Round(time.Second))
	default:
		replication.OK = true
	}
	return []admin.Check{store, replication}
}

// state is what the gauges show.
func (m *monitor) state() admin.State {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := admin.State{Connected: m.source != nil, Leader: m.leader != nil, Slot: m.slot, Held: m.held, Through: m.through}
	if m.source != nil {
		if received := m.source.Received(); received > m.durable {
			s.LagBytes = uint64(received - m.durable)
		}
	}
	if m.slot != nil && m.slot.LagBytes > s.LagBytes {
		s.LagBytes = m.slot.LagBytes
	}
	if m.dispatch != nil {
		s.Webhooks = m.dispatch.stats(m.parked)
	}
	return s
}

// slotPoll is how often the server is asked about the slot, and the store about parked deliveries.
const slotPoll = 10 * time.Second

// watchSlot keeps what the server and the store say at hand, until ctx ends. What it cannot learn shows as unknown.
func (r *Relay) watchSlot(ctx context.Context) error {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	tick := time.NewTicker(slotPoll)
	defer tick.Stop()
	warned := ""
	streaming := r.monitor.streaming
	for {
		conn = r.pollSlot(ctx, conn, &warned)
		select {
		case <-ctx.Done():
			return nil
		case <-streaming: // a first start has made the slot since, which must not show as missing
			streaming = nil
		case <-tick.C:
		}
	}
}

func (r *Relay) pollSlot(ctx context.Context, conn *pgx.Conn, warned *string) *pgx.Conn {
	ctx, cancel := context.WithTimeout(ctx, slotPoll/2)
	defer cancel()
	parked, err := r.store.ParkedCounts(ctx)
	if err != nil {
		parked = nil
	}
	var slot *admin.Slot
	if conn == nil || conn.IsClosed() {
		if conn, err = connectSource(ctx, string(r.config.Source.URL)); err != nil {
			conn = nil
		}
	}
	if conn != nil {
		if status, err := cdc.Slot(ctx, conn, r.config.Source.Slot); err == nil {
			slot = slotOf(status)
		}
	}
	r.monitor.mu.Lock()
	r.monitor.slot, r.monitor.parked = slot, parked
	r.monitor.mu.Unlock()
	if slot != nil && slot.Status != *warned {
		if slot.Status == "unreserved" || slot.Status == "lost" {
			r.log.Error("the server is about to remove log that the slot needs, or has done so: raise max_slot_wal_keep_size or mend the outbox",
				"slot", r.config.Source.Slot, "wal_status", slot.Status, "retained_bytes", slot.RetainedBytes)
		}
		*warned = slot.Status
	}
	return conn
}

func slotOf(s cdc.SlotStatus) *admin.Slot {
	slot := &admin.Slot{Active: s.Active, Status: s.WALStatus, RetainedBytes: uint64(max(s.RetainedBytes, 0)), LagBytes: uint64(max(s.LagBytes, 0))}
	if !s.Exists {
		slot.Status = "missing"
	}
	return slot
}

// stats is how each webhook stands.
func (d *dispatcher) stats(parked map[int64]outbox.ParkedCount) []admin.WebhookStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats := make([]admin.WebhookStats, 0, len(d.endpoints))
	for id, e := range d.endpoints {
		if d.leader == nil && !e.served {
			continue // another relay shows how it stands
		}
		s := admin.WebhookStats{Webhook: e.label(), Queue: len(e.queue) + len(e.sending), Parked: parked[id].Waiting, Dead: parked[id].Dead}
		if e.served && e.behind {
			s.Behind = int(d.head - e.readFrom)
		}
		stats = append(stats, s)
	}
	return stats
}
