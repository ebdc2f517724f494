package delivery

const (
	// maxUnrecorded bounds the attempts whose outcome is not in the outbox yet, and so what is sent again, and held in memory, if the outbox
	// accepts no more. It is many times what is under way in normal operation.
	maxUnrecorded = 10_000
	// maxUnproven is the bound of a membership that has not recorded an attempt yet. The one before may have ended because that failed, so
	// that every membership would send the same events again.
	maxUnproven = 8
)

// mayMakeAttempt reports whether the outcome of one more attempt can be expected to be recorded. If not, sending continues when the outbox
// has recorded what is pending.
func (d *Dispatcher) mayMakeAttempt() bool {
	if d.attemptsLeft() > 0 {
		return true
	}
	d.held = true
	if d.recorder.unrecorded() > 0 { // else an attempt in flight must end first
		d.recorder.wake()
	}
	return false
}

// attemptsLeft is how many more attempts may be made before others are recorded. Until the first is recorded, those in flight count, too,
// except slow ones, so that endpoints that hang delay no others. d.mu is held.
func (d *Dispatcher) attemptsLeft() int {
	left := maxUnrecorded - d.recorder.unrecorded()
	if !d.proven {
		left = maxUnproven - d.recorder.unrecorded() - d.scheduler.prompt() - d.retryScheduler.prompt()
	}
	return left
}

// resume continues sending after outcomes were recorded, if it was held back. d.mu is held.
func (d *Dispatcher) resume() {
	if !d.held || d.attemptsLeft() <= 0 {
		return
	}
	d.held = false
	for _, e := range d.endpoints {
		d.advance(e)
	}
}
