package integration_test

import (
	"context"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// A relay that is killed at any moment loses nothing and invents nothing: what it repeats has the same id and the same
// bytes, which the receiver checks.
func TestFault_RelayKilled(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("relay: `kill -9` at a random moment")
	tr.start().stop() // the first copy, before the load
	tr.load = tr.world.begin(4, strength(20*time.Millisecond, 20*time.Millisecond, 60*time.Millisecond))
	tr.watch = tr.watchAcknowledged(tr.outbox)
	for range strength(100, 15, 5) {
		p := launch(t, tr.cfg)
		life, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond+rand.N(900*time.Millisecond))
		p.die(life)
		cancel()
		tr.injected++
	}
	tr.end(tr.start())
}

// die kills the relay when its time has come.
func (p *process) die(life context.Context) {
	p.t.Helper()
	select {
	case <-p.exited:
		p.t.Fatalf("the relay ended by itself: %v", p.err)
	case <-life.Done():
	}
	p.kill()
}

// A leader that is killed while others stand by is followed by one of them.
func TestFault_LeaderKilled(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("leader of two relays: `kill -9`")
	leader, standby := tr.start(), launch(t, tr.cfg)
	standby.waitFor(within(t), standingBy)
	tr.begin()
	tr.inject(strength(20, 3, 1), func() {
		before := tr.epoch()
		leader.kill()
		leader = standby
		leader.waitFor(within(t), "streaming the WAL")
		if after := tr.epoch(); after != before+1 {
			t.Errorf("epoch %d follows epoch %d", after, before)
		}
		standby = launch(t, tr.cfg)
		standby.waitFor(within(t), standingBy)
	})
	tr.end(standby, leader)
}

// A relay that is stopped for longer than anybody waits for it finds its connections gone when it goes on.
func TestFault_RelayStopped(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("relay: SIGSTOP for 6 s, SIGCONT")
	p := tr.start()
	tr.begin()
	tr.inject(strength(10, 1, 1), func() {
		p.signal(syscall.SIGSTOP)
		tr.lasts(6 * time.Second)
		p.signal(syscall.SIGCONT)
	})
	tr.end(p)
}

// A leader that is stopped is replaced, and believes that it still leads when it goes on. It writes nothing.
func TestFault_LeaderStopped(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("leader of two relays: SIGSTOP, SIGCONT when the other leads")
	leader, standby := tr.start(), launch(t, tr.cfg)
	standby.waitFor(within(t), standingBy)
	tr.begin()
	tr.inject(strength(10, 2, 1), func() {
		before := tr.epoch()
		leader.signal(syscall.SIGSTOP)
		tr.until("the other one leads", `SELECT epoch > $1 FROM relay.position`, before)
		tr.flows()
		leader.signal(syscall.SIGCONT)
		tr.flows()
		leader, standby = standby, leader
		if after := tr.epoch(); after != before+1 {
			t.Errorf("epoch %d follows epoch %d", after, before)
		}
	})
	tr.end(standby, leader)
}
