package integration_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"
)

// A relay that is killed at any moment loses nothing and invents nothing: what it repeats has the same id and the same
// bytes, which the receiver checks.
func TestKill_AtRandomMomentsUnderLoad_LosesNothing(t *testing.T) {
	t.Parallel()
	kills := 50
	if testing.Short() {
		kills = 10
	}
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	start(t, cfg).stop() // the first copy, before the load
	load := w.begin(4, 20*time.Millisecond)
	watch := w.watchAcknowledged(w.db)
	for range kills {
		p := launch(t, cfg)
		life, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond+rand.N(900*time.Millisecond))
		p.die(life)
		cancel()
	}
	p := start(t, cfg)
	load.end()
	got := load.arrives(t, w.hook, "/all")
	watch()
	p.stop()
	w.sameAsStored(w.db, got)
	w.audit()
	s := w.hook.Snapshot()
	t.Logf("%d kills, %d events, %d repeated", kills, load.len(), s.Duplicates)
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
