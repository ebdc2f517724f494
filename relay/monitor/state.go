package monitor

import (
	"fmt"
	"time"

	"github.com/iam-relay/iam-relay/relay/admin"
)

const (
	// stuckAfter is how long a commit to the outbox may wait for somebody else's lock.
	stuckAfter = 3 * time.Second
	// behindAfter is for how long the position may trail the end of the log, as it was, before that is called behind: some
	// polls, and the server's own silence of up to half of wal_sender_timeout.
	behindAfter = 3 * slotPoll
	// busyFor is how long after a transaction the source is not called idle.
	busyFor = 10 * time.Second
)

// standing is in one word how the relay stands, and why if that is not well. An idle source is told from a stuck outbox by
// who waits: the relay for the server, or a commit for something in the outbox. m.mu is held.
func (m *Monitor) currentState() (admin.State, string) {
	switch {
	// What was last heard of a slot that is read from may be from before it was made.
	case m.source == nil && m.slot != nil && (m.slot.Status == statusLost || m.slot.Status == statusMissing && m.streamed):
		return admin.Lost, fmt.Sprintf("the slot is %s: see \"When the slot is lost\" in docs/operations.md", m.slot.Status)
	case m.outboxErr != nil:
		return admin.Stuck, m.outboxErr.Error()
	case m.standby:
		return admin.Standby, ""
	case m.failing.repeated():
		return admin.Stuck, m.failing.String()
	case m.wait != nil && m.wait.For > stuckAfter:
		return admin.Stuck, m.wait.String()
	case m.leader != nil && m.source == nil && m.waiting != "":
		return admin.Starting, m.waiting
	case m.leader == nil, m.source == nil && m.sourceErr == nil:
		return admin.Starting, ""
	case m.source == nil:
		return admin.Disconnected, m.sourceErr.Error()
	case m.source.LastMessage().IsZero():
		return admin.Starting, "connecting; no message from the server yet"
	case time.Since(m.source.LastMessage()) > silence:
		return admin.Disconnected, fmt.Sprintf("no message from the server for %s", time.Since(m.source.LastMessage()).Round(time.Second))
	case time.Since(later(m.through, m.since)) > behindAfter:
		return admin.CatchingUp, "reading the WAL; its end is not reached yet"
	case time.Since(m.worked) < busyFor:
		return admin.Streaming, ""
	}
	return admin.Idle, ""
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// checks is what readiness is made of.
func (m *Monitor) Checks() []admin.Check {
	m.mu.Lock()
	defer m.mu.Unlock()
	store := admin.Check{Name: "outbox", OK: m.outboxErr == nil && (m.leader != nil || m.standby)}
	if !store.OK && m.outboxErr == nil {
		store.Detail = "not connected yet"
	}
	state, why := m.currentState()
	replication := admin.Check{Name: "replication", Detail: string(state)}
	switch state {
	case admin.Idle, admin.Streaming, admin.CatchingUp:
		replication.OK = true
		if m.waiting != "" {
			replication.Detail += "; " + m.waiting
		}
	case admin.Standby:
		replication.OK, replication.Detail = true, "another relay leads, standing by"
	case admin.Stuck:
		store.OK, store.Detail = false, why
		replication.OK = m.source != nil
	case admin.Starting:
		replication.Detail = "not streaming yet"
		fallthrough
	case admin.Disconnected, admin.Lost:
		if why != "" {
			replication.Detail = why
		}
	}
	return []admin.Check{store, replication}
}

// state is what the gauges show.
func (m *Monitor) Gauges() admin.Gauges {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := admin.Gauges{Connected: m.source != nil, Leader: m.leader != nil, Slot: m.slot, Delayed: m.held, Through: m.through, Inaccessible: m.withheld}
	s.State, _ = m.currentState()
	if m.source != nil {
		if received := m.source.Received(); received > m.durable {
			s.LagBytes = uint64(received - m.durable)
		}
	}
	if m.slot != nil && m.slot.LagBytes > s.LagBytes {
		s.LagBytes = m.slot.LagBytes
	}
	if m.deliveries != nil {
		s.Webhooks = m.deliveries.Stats(m.parked)
	}
	return s
}
