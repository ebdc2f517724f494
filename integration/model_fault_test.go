package integration_test

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// fault does to the relays and their surroundings what may happen to them.
func (m *modelRun) fault(kind string, which, choice int) {
	m.t.Helper()
	switch kind {
	case "launch":
		if m.relays[which] == nil {
			m.launch(which)
		}
	case "kill":
		if p := m.running(which); p != nil {
			p.kill()
			m.relays[which] = nil
		}
	case "stop":
		if p := m.running(which); p != nil {
			if p.hasBegun() { // before, a signal simply ends it
				p.stop()
			} else {
				p.kill()
			}
			m.relays[which] = nil
		}
	case "walsender":
		m.w.exec(`SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active`, m.w.name)
	case "sessions":
		m.w.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'iam%' AND random() < 0.5`)
	case "server":
		m.restartServer(choice)
	case "endpoint":
		m.w.hook.Respond(mood(choice))
	case "arrivals":
		m.someArrivals()
	default:
		m.t.Fatalf("no such step: %s", kind)
	}
}

func (m *modelRun) launch(which int) { m.relays[which] = launch(m.t, m.cfg) }

// running is a relay that nobody has ended; it must not have ended by itself. One that found no server when it began is
// launched again, as its supervisor does.
func (m *modelRun) running(which int) *process {
	m.t.Helper()
	p := m.relays[which]
	if p == nil {
		return nil
	}
	select {
	case <-p.exited:
		if p.hasBegun() {
			m.t.Fatalf("relay %d ended by itself: %v", which, p.err)
		}
		m.launch(which)
	default:
	}
	return m.relays[which]
}

// hasBegun reports whether the relay has got as far as to know whether it leads.
func (p *process) hasBegun() bool {
	printed, _ := p.log.read()
	return strings.Contains(printed, "msg=leading ") || strings.Contains(printed, standingBy)
}

// restartServer takes with it what was not committed.
func (m *modelRun) restartServer(choice int) {
	m.t.Helper()
	end := []func() error{m.server.Kill, func() error { return m.server.Stop("fast") }, func() error { return m.server.Stop("immediate") }}[choice%3]
	if err := end(); err != nil {
		m.t.Fatal(err)
	}
	m.w.restart(m.server)
	for _, s := range m.sessions {
		s.open, s.conn = false, m.connect()
	}
}

// someArrivals gives deliveries a moment, if there are any to come.
func (m *modelRun) someArrivals() {
	ctx, cancel := context.WithTimeout(m.t.Context(), 100*time.Millisecond)
	defer cancel()
	before := m.w.hook.Snapshot().Requests
	// What does not come now comes later; only the end is judged.
	_, _ = m.w.hook.Wait(ctx, func(s *receiver.Snapshot) bool { return s.Requests >= before+20 })
}

func wellBehaved(*receiver.Delivery) receiver.Response { return receiver.Response{} }

// mood is how the endpoints behave for a while: some of the paths, or all, badly in one of several ways.
func mood(choice int) func(*receiver.Delivery) receiver.Response {
	random := rand.New(rand.NewPCG(uint64(choice), 0))
	paths := []string{"", "", "/none", "/resource", "/strict", "/of-acme"}
	path, kind := paths[choice/8%len(paths)], choice%8
	return func(d *receiver.Delivery) receiver.Response {
		if path != "" && d.Path != path {
			return receiver.Response{}
		}
		switch roll := random.IntN(8); {
		case kind == 1:
			return receiver.Response{Status: 500}
		case kind == 2 && roll < 4:
			return receiver.Response{Status: 503}
		case kind == 3 && roll < 2:
			return receiver.Response{Hang: true}
		case kind == 4:
			return receiver.Response{Delay: time.Duration(random.IntN(30)) * time.Millisecond}
		case kind == 5 && roll == 0:
			return receiver.RetryAfter(429, time.Second)
		case kind == 6 && roll < 2:
			return receiver.Response{Status: 404}
		}
		return receiver.Response{}
	}
}
