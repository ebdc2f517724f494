package delivery

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

var states = []state{stateUnowned, stateLive, stateCatchingUp, statePaused, stateHalfOpen, stateReleasing, stateDisabled}

const testHead = 10

// endpointIn returns an owned endpoint in the state (unowned excepted), which catches up unless it is live.
func endpointIn(s state) *endpoint {
	e := &endpoint{lifecycle: lifecycle{enabled: true, owned: true}, queue: newQueue(newEventPool(poolBytes), "t")}
	if s != stateLive && s != stateUnowned {
		e.cursor.startCatchUp(5)
	}
	switch s {
	case stateUnowned:
		e.owned = false
	case statePaused:
		e.breaker.Pauses = 1
		e.breaker.pause(time.Now().Add(time.Hour))
	case stateHalfOpen:
		e.breaker.Pauses = 1
		e.breaker.startHalfOpen()
	case stateReleasing:
		e.releasing = true
	case stateDisabled:
		e.enabled, e.releasing = false, true
	}
	return e
}

func TestState_Transitions(t *testing.T) {
	t.Parallel()
	const (
		u = stateUnowned
		l = stateLive
		c = stateCatchingUp
		p = statePaused
		h = stateHalfOpen
		r = stateReleasing
		d = stateDisabled
	)
	now := time.Now()
	stored := int64(3)
	for _, test := range []struct {
		cause string
		do    func(e *endpoint)
		want  [7]state // from unowned, live, catching up, paused, half-open, releasing, disabled
	}{
		{"this relay leads, and the previous leader has not delivered all events", func(e *endpoint) { e.led(5, testHead) }, [7]state{c, c, c, p, h, r, d}},
		{"this relay leads, and all events are delivered", func(e *endpoint) { e.led(testHead, testHead) }, [7]state{l, l, l, p, h, r, d}},
		{"created at the leader", func(e *endpoint) { e.created(testHead, true) }, [7]state{l, l, c, p, h, r, d}},
		{"claimed", func(e *endpoint) { e.claimed(&stored) }, [7]state{c, c, c, p, h, c, d}},
		{"restored, paused", func(e *endpoint) { e.restored(outbox.Health{Pauses: 1, PausedUntil: now.Add(time.Hour)}, now) }, [7]state{u, p, p, p, p, r, d}},
		{"restored, paused by Retry-After", func(e *endpoint) { e.restored(outbox.Health{PausedUntil: now.Add(time.Hour)}, now) }, [7]state{u, p, p, p, p, r, d}},
		{"restored, pause ended", func(e *endpoint) { e.restored(outbox.Health{Pauses: 1, PausedUntil: now.Add(-time.Hour)}, now) }, [7]state{u, p, p, p, p, r, d}},
		{"restored, healthy", func(e *endpoint) { e.restored(outbox.Health{}, now) }, [7]state{u, l, c, c, c, r, d}},
		{"released, or its lease was lost", (*endpoint).disowned, [7]state{u, u, u, u, u, u, d}},
		{"fell behind", func(e *endpoint) { e.fellBehind(7) }, [7]state{u, c, c, p, h, r, d}},
		{"caught up at the leader", func(e *endpoint) { e.caughtUp(true) }, [7]state{u, l, l, p, h, r, d}},
		{"caught up elsewhere", func(e *endpoint) { e.caughtUp(false) }, [7]state{u, l, c, p, h, r, d}},
		{"beyond this relay's share", (*endpoint).overShare, [7]state{u, r, r, r, r, r, d}},
		{"breaker opened, or Retry-After", func(e *endpoint) { e.paused(now.Add(2*time.Hour), testHead) }, [7]state{u, p, p, p, p, r, d}},
		{"pause ended without a trip", func(e *endpoint) { e.pauseEnded() }, [7]state{u, l, c, c, h, r, d}},
		{"probe wanted", (*endpoint).probeWanted, [7]state{u, p, p, p, p, r, d}},
		{"probe settled during a pause", func(e *endpoint) { e.probeSettled(now) }, [7]state{u, l, c, p, h, r, d}},
		{"probe settled after the pause", func(e *endpoint) { e.probeSettled(now.Add(2 * time.Hour)) }, [7]state{u, l, c, c, h, r, d}},
		{"probe ready", (*endpoint).probeReady, [7]state{u, h, h, h, h, r, d}},
		{"no probe left", (*endpoint).probeMissing, [7]state{u, p, p, p, p, r, d}},
		{"recovered", func(e *endpoint) { e.recovered() }, [7]state{u, l, c, c, c, r, d}},
		{"resumed by command", (*endpoint).resumed, [7]state{u, l, c, c, c, r, d}},
		{"switched on", (*endpoint).switchedOn, [7]state{u, l, c, p, h, c, c}},
		{"disabled", func(e *endpoint) { e.disabled(testHead) }, [7]state{d, d, d, d, d, d, d}},
	} {
		for i, from := range states {
			e := endpointIn(from)
			if got := e.state(); got != from {
				t.Fatalf("the endpoint is %s, not %s", got, from)
			}
			test.do(e)
			if got := e.state(); got != test.want[i] {
				t.Errorf("%s, %s: now %s, want %s", from, test.cause, got, test.want[i])
			}
		}
	}
}

func TestState_Permissions(t *testing.T) {
	t.Parallel()
	const y, n = true, false
	for s, want := range map[state]permissions{
		stateUnowned:    {n, n, n, y, n, n},
		stateLive:       {y, n, y, y, y, n},
		stateCatchingUp: {n, y, y, y, y, y},
		statePaused:     {n, n, n, n, y, n},
		stateHalfOpen:   {y, y, y, n, y, y},
		stateReleasing:  {n, n, n, n, y, y},
		stateDisabled:   {n, n, n, n, n, y},
	} {
		e := endpointIn(s)
		if got := e.may(); got != want {
			t.Errorf("%s: may %+v, want %+v", s, got, want)
		}
		if e.maySend() != want.send || e.mayRetry() != want.retry || e.mayReadLog() != want.readLog {
			t.Errorf("%s: sends %t, retries %t, reads %t", s, e.maySend(), e.mayRetry(), e.mayReadLog())
		}
	}
}

// Whatever is queued when an endpoint leaves memory is read again from the event log, and its memory is free for others.
func TestState_QueuedEventsGoBackToTheEventLog(t *testing.T) {
	t.Parallel()
	for cause, do := range map[string]func(e *endpoint){
		"paused":   func(e *endpoint) { e.paused(time.Now().Add(time.Hour), testHead) },
		"disabled": func(e *endpoint) { e.disabled(testHead) },
		"released": (*endpoint).overShare,
	} {
		e := endpointIn(stateLive)
		for id := int64(8); id <= testHead; id++ {
			e.queue.push(&outbox.Event{ID: id, Body: []byte("{}")})
		}
		do(e)
		if !e.cursor.catchingUp || e.cursor.readFrom != 7 || e.queue.len() > 0 || e.queue.pool.bytes > 0 {
			t.Errorf("%s: catching up is %t from %d, %d queued, %d bytes held", cause, e.cursor.catchingUp, e.cursor.readFrom, e.queue.len(), e.queue.pool.bytes)
		}
	}
}
