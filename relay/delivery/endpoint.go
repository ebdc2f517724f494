package delivery

import (
	"strconv"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// endpoint is one webhook as the dispatcher sees it: its definition, its state (state.go), its events and what limits its requests. The
// dispatcher's mutex guards all of it.
type endpoint struct {
	id int64
	definition
	lifecycle
	breaker breaker
	cursor  cursor
	queue   queue

	attempts int       // first attempts in flight
	retries  int       // retries in flight
	usedAt   time.Time // when it was loaded, or its last retry ended
	retryAt  time.Time // when its rate limit allows the next retry
	timer    *time.Timer

	group            group // whose turns it takes for senders and reads
	waitingForSender bool
	pacing           pacing
	window           congestionWindow
	limiter          limiter
	handshake        handshake
}

func (d *Dispatcher) newEndpoint(w *outbox.Webhook) *endpoint {
	e := &endpoint{
		id: w.ID, usedAt: time.Now(), lifecycle: lifecycle{enabled: w.Enabled}, definition: definition{resumeCount: w.ResumeCount}, queue: newQueue(d.pool, w.Tenant),
	}
	d.endpoints[w.ID] = e
	d.configure(e, w)
	return e
}

// ready reports whether its order and its handshake allow requests.
func (e *endpoint) ready() bool { return !e.queue.halted() && e.handshake.covers(e.target) }

func (e *endpoint) maySend() bool { return e.may().send && e.ready() }

func (e *endpoint) mayReadLog() bool { return e.cursor.catchingUp && e.may().readLog && e.ready() }

func (e *endpoint) mayRetry() bool { return e.may().retry && e.handshake.covers(e.target) }

// maxAttempts is how many first attempts may be in flight.
func (e *endpoint) maxAttempts() int {
	if e.breaker.halfOpen() || e.options.Ordering == webhook.OrderingStrict {
		return 1
	}
	return e.window.limit()
}

// putBack leaves an event that was sent as a probe to be read again. Reading never moves forward by it: a request from before a
// short pause may end while an older event has yet to be read.
func (e *endpoint) putBack(event *outbox.Event) {
	e.fellBehind(min(event.ID-1, e.cursor.limit()))
	delete(e.queue.ahead, event.ID)
}

// gone reports whether nothing is to be delivered any more. That a webhook is removed is not enough: delayed events and retries from before are
// still delivered to it.
func (e *endpoint) gone() bool { return e.removedAfter != nil && !e.enabled }

// label is the endpoint's name in metrics: unique, and readable if the webhook has a name.
func (e *endpoint) label() string { return e.name + "#" + strconv.FormatInt(e.id, 10) }

func (e *endpoint) stopTimer() {
	if e.timer != nil {
		e.timer.Stop()
	}
}

// disown forgets the events of an endpoint to which this relay no longer delivers.
func (d *Dispatcher) disown(e *endpoint) {
	e.disowned()
	e.stopTimer()
}
