package integration_test

import (
	"syscall"
	"testing"
)

// A leader that is frozen, but whose machine still answers for it, loses its lock by itself: nobody has to end its
// sessions for the standby to go on.
func TestFrozen_LeaderLosesItsPlaceByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config().webhook(w.hook, "/all")
	frozen := start(t, cfg)
	var a account
	w.createUsers(&a, 0, 50)
	a.arrives(t, w.hook, "/all")
	standby := launch(t, cfg)
	standby.waitFor(within(t), "standing by")
	frozen.signal(syscall.SIGSTOP)
	w.createUsers(&a, 100, 50) // some of them are in the frozen one's buffers
	standby.waitFor(within(t), "reading the log")
	a.arrives(t, w.hook, "/all")
	frozen.signal(syscall.SIGCONT)
	frozen.waitFor(within(t), "standing by")
	w.createUsers(&a, 200, 50)
	a.arrives(t, w.hook, "/all")
	w.caughtUp()
	frozen.stop()
	standby.stop()
	w.audit()
}
