package monitor

import (
	"fmt"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/admin"
)

const (
	// stuckAfter is how long a commit to the outbox may wait for another session's lock before the state is "stuck".
	stuckAfter = 3 * time.Second
	// catchingUpAfter is how long ingestion may be behind a past end of the WAL before the state is "catching up". It covers several polls,
	// and the server's silence of up to half of wal_sender_timeout.
	catchingUpAfter = 3 * slotPoll
	// idleAfter is how long after the last transaction the state changes from "streaming" to "idle".
	idleAfter = 10 * time.Second
	// silenceLimit is how long the server may send nothing before the connection counts as dead. A live server sends a message at least
	// every half of wal_sender_timeout.
	silenceLimit = 30 * time.Second
)

// currentState returns the relay's state, and the reason with its remedy if an operator may want one. The first case that applies wins.
// m.mu is held.
func (m *Monitor) currentState() (admin.State, string) {
	switch {
	// While this relay streams, the last poll of the slot may be from before it was created.
	case m.source == nil && m.slot != nil && (m.slot.Status == statusLost || m.slot.Status == statusMissing && m.streamed):
		return admin.Lost, fmt.Sprintf("the slot is %s: see \"When the slot is lost\" in docs/operations.md", m.slot.Status)
	case m.outboxErr != nil:
		return admin.Stuck, m.outboxErr.Error()
	case m.standby:
		return admin.Standby, ""
	case m.failures.repeated():
		return admin.Stuck, m.failures.String()
	case m.lockWait != nil && m.lockWait.For > stuckAfter:
		return admin.Stuck, m.lockWait.String()
	case m.leader != nil && m.source == nil && m.snapshotWait != "":
		return admin.Starting, m.snapshotWait
	case m.leader == nil, m.source == nil && m.sourceErr == nil:
		return admin.Starting, ""
	case m.source == nil:
		return admin.Disconnected, m.sourceErr.Error()
	case m.source.LastMessage().IsZero():
		return admin.Starting, "connecting; no message from the server yet"
	case time.Since(m.source.LastMessage()) > silenceLimit:
		return admin.Disconnected, fmt.Sprintf("no message from the server for %s", time.Since(m.source.LastMessage()).Round(time.Second))
	case time.Since(later(m.ingestedThrough, m.streamStarted)) > catchingUpAfter:
		return admin.CatchingUp, "reading the WAL; its end is not reached yet"
	case time.Since(m.lastIngested) < idleAfter:
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

// Checks returns the parts of /readyz. The relay is ready if all are OK.
func (m *Monitor) Checks() []admin.Check {
	m.mu.Lock()
	defer m.mu.Unlock()
	outboxCheck := admin.Check{Name: "outbox", OK: m.outboxErr == nil && (m.leader != nil || m.standby)}
	if !outboxCheck.OK && m.outboxErr == nil {
		outboxCheck.Detail = "not connected yet"
	}
	state, why := m.currentState()
	replication := admin.Check{Name: "replication", Detail: string(state)}
	switch state {
	case admin.Idle, admin.Streaming, admin.CatchingUp:
		replication.OK = true
		if m.snapshotWait != "" {
			replication.Detail += "; " + m.snapshotWait
		}
	case admin.Standby:
		replication.OK, replication.Detail = true, "another relay leads; this one is on standby"
	case admin.Stuck:
		outboxCheck.OK, outboxCheck.Detail = false, why
		replication.OK = m.source != nil
	case admin.Starting:
		replication.Detail = "not streaming yet"
		fallthrough
	case admin.Disconnected, admin.Lost:
		if why != "" {
			replication.Detail = why
		}
	}
	// What is wrong in the source's catalog does not keep the relay from working: to restart it, or to hold back a rollout, would not help.
	source := admin.Check{Name: "source", OK: true, Detail: strings.Join(SourceProblems(m.hazards, nil, m.withheld), "; ")}
	return []admin.Check{outboxCheck, replication, source}
}

// maxProblems is how many problems of the source are listed.
const maxProblems = 10

// SourceProblems returns what an operator should fix in the source's tables and publications, each with its remedy and in the words of the
// log: publications that make the application's statements fail, what prevents replication, and what is optional and treated as absent.
func SourceProblems(hazards []cdc.PublicationHazard, problems, withheld []cdc.Problem) []string {
	var texts []string
	for _, h := range hazards {
		texts = append(texts, h.String())
	}
	for _, p := range problems {
		texts = append(texts, p.String())
	}
	for _, p := range withheld {
		texts = append(texts, "optional, and treated as absent: "+p.String())
	}
	if more := len(texts) - maxProblems; more > 0 {
		texts = append(texts[:maxProblems], fmt.Sprintf("%d more; iam-relay check lists them", more))
	}
	return texts
}

// Gauges returns the present values of the metrics that are gauges.
func (m *Monitor) Gauges() admin.Gauges {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := admin.Gauges{Connected: m.source != nil, Leader: m.leader != nil, Slot: m.slot, Delayed: m.delayed, Through: m.ingestedThrough, Inaccessible: len(m.withheld), Hazards: len(m.hazards)}
	s.State, _ = m.currentState()
	if m.source != nil {
		if received := m.source.Received(); received > m.stored {
			s.LagBytes = uint64(received - m.stored)
		}
	}
	if m.slot != nil && m.slot.LagBytes > s.LagBytes {
		s.LagBytes = m.slot.LagBytes
	}
	if m.deliveries != nil {
		s.Webhooks = m.deliveries.Stats(m.retries)
	}
	return s
}
