package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// BreakerConfig says when an endpoint is paused, for how long, and when it is disabled.
type BreakerConfig struct {
	Failures        int           // in a row, to open the breaker
	Pause, PauseMax time.Duration // the first pause, and the longest: each is twice as long as the one before
	DisableAfter    time.Duration // of nothing but failures; 0: never
	DisableSpread   time.Duration // over which they must be spread
}

const (
	// timeoutsToTrip is how many time-outs in a row open the breaker, unless BreakerConfig.Failures is less. Each occupies a sender for
	// the whole of delivery.timeout, so it takes fewer of them than of other failures.
	timeoutsToTrip = 3
	// disableSpans is the number of parts of DisableSpread in which an endpoint must have failed to be disabled.
	disableSpans = 12
	// pauseJitter spreads pauses by this fraction in both directions.
	pauseJitter = 0.2
	// maxDoublings keeps the shift from overflowing.
	maxDoublings = 20
)

type breakerPhase uint8

const (
	breakerClosed   breakerPhase = iota
	breakerOpen                  // nothing is sent until PausedUntil
	breakerHalfOpen              // the next request decides
)

// breaker is the circuit breaker of one endpoint. It opens after failures in a row, for twice as long each time, and disables the
// endpoint after days of nothing but failures. Only attempts that reached out count (webhook.Class.ReachedOut): what the relay itself
// refused to send says nothing about the endpoint. Its Health is stored, and survives a restart or a change of owner.
type breaker struct {
	outbox.Health
	phase        breakerPhase
	failures     int  // since the last success
	timeouts     int  // since the last attempt that did not time out
	probing      bool // a probe or handshake has been asked for and is not settled: nothing else is sent
	probePending bool // it waits for a sender
	notified     bool // endpoint.failing was emitted, so endpoint.recovered will be
}

// restore continues with what is stored.
func (b *breaker) restore(h outbox.Health, now time.Time) {
	*b = breaker{Health: h, notified: h.Pauses > 0}
	if b.tripped() || now.Before(h.PausedUntil) {
		b.phase = breakerOpen
	}
}

// reset closes the breaker and forgets all failures.
func (b *breaker) reset() {
	b.Health, b.failures, b.timeouts = outbox.Health{}, 0, 0
	b.close()
}

func (b *breaker) close() { b.phase = breakerClosed }

// open reports whether nothing but a probe may be sent.
func (b *breaker) open() bool { return b.phase == breakerOpen || b.probing }

func (b *breaker) halfOpen() bool { return b.phase == breakerHalfOpen }

// tripped reports whether it has opened since the last success. Such a breaker closes by a probe.
func (b *breaker) tripped() bool { return b.Pauses > 0 }

// remaining is how long the pause still lasts.
func (b *breaker) remaining(now time.Time) time.Duration { return max(0, b.PausedUntil.Sub(now)) }

// pause opens the breaker, unless it is to stay open for longer anyway.
func (b *breaker) pause(until time.Time) bool {
	if until.Before(b.PausedUntil) {
		return false
	}
	b.PausedUntil, b.phase = until, breakerOpen
	return true
}

// trip counts one more pause and returns how long it lasts. The random number is from [0, 1).
func (b *breaker) trip(c *BreakerConfig, random float64) time.Duration {
	pause := min(c.Pause<<min(b.Pauses, maxDoublings), c.PauseMax)
	b.Pauses++
	b.endHalfOpen()
	return pause + time.Duration(float64(pause)*pauseJitter*(2*random-1))
}

func (b *breaker) startHalfOpen() { b.phase = breakerHalfOpen }

func (b *breaker) endHalfOpen() {
	if b.phase == breakerHalfOpen {
		b.close()
	}
}

// endProbe ends a probe that has not led to a half-open breaker.
func (b *breaker) endProbe(now time.Time) {
	b.probing = false
	if b.phase == breakerOpen && b.remaining(now) == 0 {
		b.close()
	}
}

// endPause closes a breaker that was open only because the endpoint had asked for a pause. It reports whether the stored Health differs.
func (b *breaker) endPause() (changed bool) {
	if b.phase == breakerOpen {
		b.close()
	}
	changed = !b.PausedUntil.IsZero() && !b.tripped()
	if changed {
		b.PausedUntil = time.Time{}
	}
	return changed
}

// recovery is what a success means for an endpoint.
type recovery struct {
	halfOpen bool      // it was the probe
	changed  bool      // the stored Health differs
	notify   bool      // endpoint.recovered is due
	since    time.Time // when the failures began
}

// succeeded closes the breaker.
func (b *breaker) succeeded() recovery {
	b.failures, b.timeouts = 0, 0
	r := recovery{halfOpen: b.halfOpen(), since: b.FailingSince}
	b.endHalfOpen()
	if b.FailingSince.IsZero() && !b.tripped() {
		return r
	}
	r.notify, r.changed = b.notified, b.tripped() || b.FailingSpans > 1
	b.notified = false
	b.reset()
	return r
}

// reaction is what a failure demands.
type reaction uint8

const (
	reactNot        reaction = iota
	reactPause               // for as long as the endpoint has asked for
	reactTrip                // open the breaker
	reactDisable             // it has failed for too long
	reactDisableNow          // it has answered 410 Gone
)

// failed counts a failed attempt and returns what it demands, and whether the stored Health differs. A strictly ordered endpoint does not
// trip: its single retry has a schedule, and nothing else is sent. A half-open breaker whose next event cannot be sent at all
// stays half-open.
func (b *breaker) failed(o *webhook.Outcome, c *BreakerConfig, strict bool, now time.Time) (_ reaction, changed bool) {
	if !o.Class.ReachedOut() {
		return reactNot, false
	}
	trips := b.count(o.Class, c.Failures)
	if b.FailingSince.IsZero() {
		b.FailingSince = now
	}
	if b.FailedAt.IsZero() || now.Sub(b.FailedAt) >= c.DisableSpread/disableSpans {
		b.FailingSpans++
		b.FailedAt = now
		changed = b.FailingSpans > 1 // a single failure is not worth a write
	}
	switch {
	case o.Class == webhook.ClassHTTP410:
		return reactDisableNow, changed
	case c.DisableAfter > 0 && now.Sub(b.FailingSince) >= c.DisableAfter && b.FailingSpans >= disableSpans:
		return reactDisable, changed
	case o.RetryAfter > 0:
		b.endHalfOpen() // another probe follows the pause
		return reactPause, changed
	case strict:
		b.endHalfOpen()
		return reactNot, changed
	case b.halfOpen() || trips && !b.open():
		return reactTrip, changed
	}
	return reactNot, changed
}

// count reports whether the failures in a row are enough to open the breaker.
func (b *breaker) count(class webhook.Class, failuresToTrip int) bool {
	b.failures++
	if class == webhook.ClassTimeout {
		b.timeouts++
	} else {
		b.timeouts = 0
	}
	return b.failures >= failuresToTrip || b.timeouts >= min(timeoutsToTrip, failuresToTrip)
}
