package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// state is what an endpoint does, as this relay sees it.
//
//	unowned ──claimed, or this relay leads──▶ live, catching up
//	live ──queue full, events skipped──▶ catching up ──nothing left to read (leader only)──▶ live
//	live, catching up ──breaker opens, Retry-After──▶ paused ──probe──▶ half-open ──success──▶ catching up, live
//	half-open ──failure──▶ paused
//	catching up, half-open ──more than this relay's share──▶ releasing ──nothing in flight──▶ unowned
//	any ──410, failing for days, by command──▶ disabled ──by command──▶ the state it would have otherwise
type state uint8

const (
	stateUnowned    state = iota // another relay delivers to it, or none does yet
	stateLive                    // the leader puts new events into its queue from memory
	stateCatchingUp              // it reads the event log from its cursor
	statePaused                  // its breaker is open, or a probe of it has not ended
	stateHalfOpen                // one request at a time shows whether it has recovered
	stateReleasing               // unowned as soon as nothing is in flight
	stateDisabled                // nothing is sent until it is enabled by command or in the IAM
)

func (s state) String() string {
	return [...]string{"unowned", "live", "catching up", "paused", "half-open", "releasing", "disabled"}[s]
}

// permissions are what an endpoint may do in a state. Its order and its handshake may forbid more: see endpoint.ready.
type permissions struct {
	takeLive bool // queue new events from memory, unless it is catching up
	readLog  bool // read the event log, if it is catching up
	send     bool // first attempts
	retry    bool // retries that are due
	probe    bool // ask for a probe
	release  bool // be released for another relay to claim
}

var permitted = [...]permissions{
	stateUnowned:    {retry: true}, // only without an order or a rate limit: see outbox.Member.ClaimDue
	stateLive:       {takeLive: true, send: true, retry: true, probe: true},
	stateCatchingUp: {readLog: true, send: true, retry: true, probe: true, release: true},
	statePaused:     {probe: true},
	stateHalfOpen:   {takeLive: true, readLog: true, send: true, probe: true, release: true},
	stateReleasing:  {probe: true, release: true},
	stateDisabled:   {release: true},
}

// lifecycle holds the facts that the state follows from, beside the cursor and the breaker. Only the transitions below change them.
type lifecycle struct {
	enabled   bool
	owned     bool // this relay delivers to it
	releasing bool
}

// state derives the endpoint's state. A fact further up hides those below it: a disabled endpoint may be owned, a releasing one paused.
func (e *endpoint) state() state {
	switch {
	case !e.enabled:
		return stateDisabled
	case !e.owned:
		return stateUnowned
	case e.releasing:
		return stateReleasing
	case e.breaker.open():
		return statePaused
	case e.breaker.halfOpen():
		return stateHalfOpen
	case e.cursor.catchingUp:
		return stateCatchingUp
	}
	return stateLive
}

func (e *endpoint) may() permissions { return permitted[e.state()] }

// The transitions. Each is named after its cause.

// led: this relay leads now, and every event up to watermark is delivered. It reads on from there: what the previous leader sent
// later from memory is unknown, so it is sent again with the same ids.
func (e *endpoint) led(watermark, head int64) {
	e.owned = true
	e.cursor.readFrom, e.cursor.catchingUp, e.cursor.exists = watermark, watermark < head, watermark < head
}

// created: the webhook is new, and this relay leads.
func (e *endpoint) created(head int64, owned bool) {
	e.cursor.readFrom, e.owned = head, owned
}

// claimed: this relay has leased the endpoint, which reads on from its stored cursor.
func (e *endpoint) claimed(cursor *int64) {
	e.owned, e.releasing = true, false
	e.cursor.startCatchUp(*cursor)
	e.cursor.stored = cursor
	e.window.reset()
}

// restored: the breaker goes on with what is stored.
func (e *endpoint) restored(h outbox.Health, now time.Time) {
	e.breaker.restore(h, now)
	e.pacing.restore(h)
}

// disowned: it is released, another relay has claimed it, or its webhook is deleted.
func (e *endpoint) disowned() {
	e.emptyQueue()
	e.owned, e.releasing = false, false
	e.cursor.exists, e.cursor.stored = false, nil
	e.breaker.close()
}

// fellBehind: events after the given one are not in the queue.
func (e *endpoint) fellBehind(after int64) { e.cursor.startCatchUp(after) }

// caughtUp: the event log has nothing more. Only the leader has live endpoints.
func (e *endpoint) caughtUp(leads bool) {
	if leads {
		e.cursor.catchingUp = false
	}
}

// overShare: this relay has more than its share of the endpoints that catch up.
func (e *endpoint) overShare() {
	e.emptyQueue()
	e.releasing = true
}

// paused: the breaker has opened, or the endpoint has asked for a pause. Queued events go back to the event log. It reports
// whether this pause ends later than one that it is in already.
func (e *endpoint) paused(until time.Time, head int64) bool {
	if !e.breaker.pause(until) {
		return false
	}
	if e.owned {
		e.leaveMemory(head)
	}
	return true
}

// probeWanted: the pause has ended, or the handshake has not been made.
func (e *endpoint) probeWanted() { e.breaker.probing, e.breaker.probePending = true, true }

// probeSettled: there was nothing but the handshake to probe, or the probe cannot be sent.
func (e *endpoint) probeSettled(now time.Time) { e.breaker.endProbe(now) }

// pauseEnded: it is over, and the breaker had not tripped. It reports whether the stored health differs.
func (e *endpoint) pauseEnded() bool { return e.breaker.endPause() }

// handshakeDone: a strictly ordered endpoint was paused only because it had refused the handshake.
func (e *endpoint) handshakeDone() { e.breaker.Pauses, e.breaker.PausedUntil = 0, time.Time{} }

// probeReady: the next request is the probe.
func (e *endpoint) probeReady() { e.breaker.startHalfOpen() }

// probeMissing: nothing is left that could show whether it has recovered.
func (e *endpoint) probeMissing() { e.breaker.phase = breakerOpen }

// recovered: it has accepted an event.
func (e *endpoint) recovered() recovery { return e.breaker.succeeded() }

// resumed: it was enabled again, or its failures were forgiven by command.
func (e *endpoint) resumed() { e.breaker.reset() }

// switchedOn: its webhook is enabled.
func (e *endpoint) switchedOn() {
	e.enabled = true
	if e.owned {
		e.releasing = false
	}
}

// disabled: it has answered 410, has failed for too long, or its webhook is disabled. Its events stay in the event log.
func (e *endpoint) disabled(head int64) {
	e.enabled = false
	if !e.owned {
		return
	}
	e.leaveMemory(head)
	e.releasing = true
}

// leaveMemory empties the queue. What comes next is read from the event log.
func (e *endpoint) leaveMemory(head int64) {
	e.emptyQueue()
	if !e.cursor.catchingUp {
		e.cursor.startCatchUp(head)
	}
}

// emptyQueue leaves the queued events to be read again from the event log, and their memory to other endpoints.
func (e *endpoint) emptyQueue() {
	if first, found := e.queue.clear(); found {
		e.cursor.startCatchUp(min(first-1, e.cursor.limit()))
	}
}
