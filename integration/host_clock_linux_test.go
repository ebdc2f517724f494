package integration_test

import (
	"testing"
	"time"
)

// The clock of the relay's host is set under load, forwards and backwards, by seconds and by weeks, as NTP and a resumed machine do. Nothing is
// dropped, sent twice, or held back, and the relay goes on.
func TestHostClock_IsSetUnderLoad(t *testing.T) {
	inFullRun(t) // it builds Go's library once more
	t.Parallel()
	program, clock := buildWithClock(t)
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all").set("delivery.schedule", []string{"1h"}).set("outbox.retention", "24h")
	relay := launchProgram(t, program, cfg.write(t), cfg.secrets)
	relay.waitFor(within(t), "streaming the WAL")
	load := w.begin(4, 5*time.Millisecond)
	w.arrivesMore(50)
	const day = 24 * time.Hour
	for _, off := range []time.Duration{7 * time.Second, -7 * time.Second, time.Hour, 0, 40 * day, 0, -40 * day, 2 * day, 0} {
		clock.jump(t, off)
		w.arrivesMore(100)
		if status, body, err := relay.get("/readyz"); err != nil || status != 200 {
			t.Errorf("after a step to %s: %d %s %v", off, status, body, err)
		}
	}
	load.end()
	load.arrives(t, w.hook, "/all")
	if s := w.hook.Snapshot(); s.Duplicates > 0 || s.Faulty > 0 || s.Requests != s.Accepted {
		t.Errorf("%d duplicates, %d faulty requests, %d of %d accepted", s.Duplicates, s.Faulty, s.Accepted, s.Requests)
	}
	if retries := value[int](t, w.db, w.inOutbox(`SELECT count(*) FROM relay.retry`)); retries > 0 {
		t.Errorf("%d retries are left", retries)
	}
	relay.stop()
	w.audit()
}
