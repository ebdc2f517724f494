package integration_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// command runs another of the relay's commands with the configuration of a relay that was started, and returns what it
// prints. It must succeed.
func (p *process) command(arguments ...string) string {
	p.t.Helper()
	ctx := within(p.t)
	output, err := exec.CommandContext(ctx, binary, slices.Concat(arguments[:1], p.cmd.Args[2:], arguments[1:])...).CombinedOutput()
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}

// A webhook that came late is sent what it has missed, whatever becomes of the relay meanwhile: the replay goes on where it
// was, and what is repeated has the same id and bytes, which the receiver checks.
func TestReplay_MissedEventsArriveAlthoughTheRelayIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/first")
	p := start(t, cfg)
	var a account
	const before = 600
	w.createUsers(&a, 0, before)
	a.arrives(t, w.hook, "/first")
	p.stop()

	cfg.webhook(w.hook, "/later")
	p = start(t, cfg)
	p.command("replay", "--webhook", "later", "--missed", "--rate", "200")
	for _, queued := range []int{1, 100, 250, 500} {
		w.until("the replay goes on", `SELECT queued >= $1 FROM relay.replay`, queued)
		p.kill()
		p = start(t, cfg)
		w.createUsers(&a, before+queued, 5) // which come by themselves, beside the replay
	}
	got := a.arrives(t, w.hook, "/later")
	w.sameAsStored(w.db, got)
	if shown := p.command("replay", "show", "1", "--wait"); !strings.Contains(shown, "done: examined events up to 600 of 600; 600 queued, 600 delivered, 0 waiting, 0 dead, 0 skipped\n") {
		t.Errorf("it says %s", shown)
	}
	if said := p.command("replay", "--webhook", "later", "--missed", "--dry-run"); !strings.HasPrefix(said, "0 events would be") {
		t.Errorf("it says %s", said)
	}
	w.until("no retries are left", `SELECT count(*) = 0 FROM relay.retry`)
	w.audit()
}

// What is replayed to a webhook that keeps an order comes one after the other, in the order of the event log, although some of it
// is refused; and what happens meanwhile has an order of its own.
func TestReplay_InOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().set("delivery.schedule", hastily()).set("delivery.pause", "100ms").set("delivery.pause_max", "200ms").
		webhook(w.hook, "/strict", map[string]any{"ordering": "strict"})
	p := start(t, cfg)
	var a account
	const before = 20
	w.createUsers(&a, 0, before)
	a.arrives(t, w.hook, "/strict")
	w.until("all of it is recorded", `SELECT delivered = last_event FROM relay.watermark, relay.position`)
	p.command("replay", "2", "--webhook", "strict", "--wait")
	w.hook.Respond(badly)
	p.command("replay", "--webhook", "strict", "--name", "user.*", "--rate", "1000")
	w.createUsers(&a, before, 20)
	a.arrives(t, w.hook, "/strict")
	p.command("replay", "show", "2", "--wait")
	w.order("/strict", false)
	s := w.hook.Snapshot()
	var repeated []int64
	for _, d := range s.Deliveries {
		if d.Duplicate && d.Status/100 == 2 {
			repeated = append(repeated, value[int64](t, w.db, w.inOutbox(`SELECT id FROM relay.event WHERE webhook_id = $1`), d.ID))
		}
	}
	if len(repeated) != before+1 || repeated[0] != 2 || !slices.IsSorted(repeated[1:]) {
		t.Errorf("replayed were %v", repeated)
	}
}
