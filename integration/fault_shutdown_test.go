package integration_test

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/integration/receiver"
)

// A relay that is asked to end, at any moment of its life and under load, ends in order: nothing is lost and nothing comes twice,
// neither to a webhook that keeps an order nor to one that is slower than the load.
func TestFault_RelayTerminated(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("relay: SIGTERM at a random moment")
	tr.cfg.webhook(tr.hook, "/slow").set("delivery.in_flight", 2)
	tr.hook.Respond(func(d *receiver.Delivery) receiver.Response {
		if d.Path == "/slow" {
			return receiver.Response{Delay: rand.N(60 * time.Millisecond)}
		}
		return receiver.Response{Delay: rand.N(10 * time.Millisecond)}
	})
	tr.start().stop() // the first copy, before the load
	tr.load = tr.world.begin(4, strength(100*time.Millisecond, 20*time.Millisecond, 60*time.Millisecond))
	tr.watch = tr.watchAcknowledged(tr.outbox)
	for range strength(500, 6, 3) {
		p := launch(t, tr.cfg)
		p.waitFor(within(t), []string{"starting", "leading", "streaming the WAL", "streaming the WAL"}[rand.IntN(4)])
		tr.lasts(rand.N(700 * time.Millisecond))
		p.stop()
		tr.injected++
	}
	last := tr.start()
	tr.load.end()
	tr.hook.Respond(func(*receiver.Delivery) receiver.Response { return receiver.Response{} })
	tr.load.arrives(t, tr.hook, "/slow")
	tr.end(last)
	if n := tr.hook.Snapshot().Duplicates; n > 0 {
		t.Errorf("%d events came twice although every relay was stopped in order", n)
	}
}

// A relay that stands by takes over from one that is asked to end, and repeats nothing of what that one was sending.
func TestShutdown_LeaderHandsOver(t *testing.T) {
	t.Parallel()
	tr := newWorld(t).try("")
	tr.cfg.webhook(tr.hook, "/slow").set("delivery.in_flight", 2)
	tr.hook.Respond(onPath("/slow", receiver.Response{Delay: 50 * time.Millisecond}))
	leader := tr.start()
	tr.load = tr.world.begin(4, 20*time.Millisecond)
	for range 3 {
		standby := launch(t, tr.cfg)
		standby.waitFor(within(t), standingBy)
		tr.flows()
		leader.signal(syscall.SIGTERM)
		standby.waitFor(within(t), "streaming the WAL")
		leader.wait(within(t))
		leader = standby
	}
	tr.load.end()
	tr.load.arrives(t, tr.hook, all)
	tr.load.arrives(t, tr.hook, "/slow")
	if n := tr.hook.Snapshot().Duplicates; n > 0 {
		t.Errorf("%d events came twice", n)
	}
}
