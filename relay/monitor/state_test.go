package monitor

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// connection is a replication connection whose server has sent its last message at a time, and WAL up to an LSN.
type connection struct {
	last     time.Time
	received cdc.LSN
}

func (c connection) LastMessage() time.Time { return c.last }
func (c connection) Received() cdc.LSN      { return c.received }

// streaming makes m a leader that has ingested everything. Ages in these tests are an hour, far from every limit.
func streaming(m *Monitor) {
	later := time.Now().Add(time.Hour)
	m.leader, m.source, m.streamed = &outbox.Leader{}, connection{last: later}, true
	m.streamStarted, m.ingestedThrough = hourAgo(), later
}

func hourAgo() time.Time { return time.Now().Add(-time.Hour) }

var stateTests = map[string]struct {
	report func(*Monitor)
	state  admin.State
	reason string
	ready  bool
}{
	"new":          {func(*Monitor) {}, admin.Starting, "", false},
	"leading only": {func(m *Monitor) { m.SetLeader(&outbox.Leader{}) }, admin.Starting, "", false},
	"waiting for the table snapshot": {
		func(m *Monitor) { m.SetLeader(&outbox.Leader{}); m.SetWaiting("waits for 42") }, admin.Starting, "waits for 42", false,
	},
	"connected, no message yet": {
		func(m *Monitor) { streaming(m); m.source = connection{} }, admin.Starting, "connecting; no message from the server yet", false,
	},
	"idle": {streaming, admin.Idle, "", true},
	"streaming": {
		func(m *Monitor) { streaming(m); m.lastIngested = time.Now().Add(time.Hour) }, admin.Streaming, "", true,
	},
	"behind an end of the WAL for an hour": {
		func(m *Monitor) { streaming(m); m.ingestedThrough = hourAgo() }, admin.CatchingUp, "reading the WAL; its end is not reached yet", true,
	},
	"a stream that has just started may be behind": {
		func(m *Monitor) {
			streaming(m)
			m.ingestedThrough, m.streamStarted = hourAgo(), time.Now().Add(time.Hour)
		}, admin.Idle, "", true,
	},
	"silent server": {
		func(m *Monitor) { streaming(m); m.source = connection{last: hourAgo()} }, admin.Disconnected, "no message from the server for ", false,
	},
	"source failed": {
		func(m *Monitor) { streaming(m); m.SourceFailed(errors.New("refused")) }, admin.Disconnected, "refused", false,
	},
	"standby": {func(m *Monitor) { m.SetStandby() }, admin.Standby, "", true},
	"outbox failed": {
		func(m *Monitor) { streaming(m); m.OutboxFailed(errors.New("no route")); m.SetLeader(nil) }, admin.Stuck, "no route", false,
	},
	"outbox failed, then leads again": {
		func(m *Monitor) { m.OutboxFailed(errors.New("no route")); m.SetLeader(&outbox.Leader{}) }, admin.Starting, "", false,
	},
	"one failure to ingest": {func(m *Monitor) { streaming(m); m.IngestFailed(errors.New("full")) }, admin.Idle, "", true},
	"two failures to ingest": {
		func(m *Monitor) { streaming(m); m.IngestFailed(errors.New("full")); m.IngestFailed(errors.New("full")) },
		admin.Stuck, "ingestion has failed 2 times after 0/0: full", false,
	},
	"failures end with a commit beyond them": {
		func(m *Monitor) {
			streaming(m)
			m.IngestFailed(errors.New("full"))
			m.IngestFailed(errors.New("full"))
			m.Ingested(1, 0)
		}, admin.Streaming, "", true,
	},
	"short lock wait": {func(m *Monitor) { streaming(m); m.lockWait = &outbox.LockWait{For: time.Second} }, admin.Idle, "", true},
	"lost slot": {
		func(m *Monitor) { m.SetLeader(&outbox.Leader{}); m.slot = &admin.Slot{Status: statusLost} },
		admin.Lost, "the slot is lost: see \"When the slot is lost\" in docs/operations.md", false,
	},
	"missing slot before the first start": {
		func(m *Monitor) { m.SetLeader(&outbox.Leader{}); m.slot = &admin.Slot{Status: statusMissing} }, admin.Starting, "", false,
	},
	"missing slot after streaming": {
		func(m *Monitor) { streaming(m); m.source, m.slot = nil, &admin.Slot{Status: statusMissing} },
		admin.Lost, "the slot is missing: see \"When the slot is lost\" in docs/operations.md", false,
	},
	"slot polled before the stream created it": {
		func(m *Monitor) { streaming(m); m.slot = &admin.Slot{Status: statusMissing} }, admin.Idle, "", true,
	},
}

// Each state, and which of two that apply takes precedence.
func TestMonitor_State(t *testing.T) {
	t.Parallel()
	for name, test := range stateTests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := New()
			test.report(m)
			state, reason := m.currentState()
			if state != test.state || !strings.HasPrefix(reason, test.reason) || test.reason == "" && reason != "" {
				t.Errorf("state %q, reason %q; want %q, %q", state, reason, test.state, test.reason)
			}
			ready := true
			for _, c := range m.Checks() {
				ready = ready && c.OK
			}
			if ready != test.ready {
				t.Errorf("ready: %t, want %t: %+v", ready, test.ready, m.Checks())
			}
		})
	}
}

// A commit that waits for a lock for long makes the relay stuck, with the session that holds it.
func TestMonitor_StuckByALock(t *testing.T) {
	t.Parallel()
	m := New()
	m.leader, m.lockWait = &outbox.Leader{}, &outbox.LockWait{For: time.Minute}
	if state, reason := m.currentState(); state != admin.Stuck || reason != m.lockWait.String() {
		t.Errorf("state %q, reason %q", state, reason)
	}
}

// A past end of the WAL counts as reached only once it is ingested, and is not replaced by a later one before.
func TestMonitor_KeepsTheTargetUntilItIsReached(t *testing.T) {
	t.Parallel()
	m := New()
	m.source = connection{received: 5}
	m.observeEnd(10)
	m.Ingested(5, 0)
	if !m.ingestedThrough.IsZero() {
		t.Error("the end of what the server has sent counts as the end of its WAL")
	}
	first := m.target
	m.observeEnd(20)
	if m.target != first {
		t.Error("a later end has replaced the target")
	}
	m.Ingested(10, 0)
	if m.ingestedThrough != first.at || !m.target.at.IsZero() {
		t.Errorf("ingested through %s, want %s", m.ingestedThrough, first.at)
	}
}
