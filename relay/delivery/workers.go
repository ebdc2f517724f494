package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// job is one use of a sender: a first attempt, or, without an event, a probe.
type job struct {
	endpoint *endpoint
	event    *outbox.Event
	permit   *permit
}

// startRequests starts as many requests as the endpoint may have in flight. It waits for its turn while no sender is free for it.
func (d *Dispatcher) startRequests(e *endpoint) {
	d.waitForSender(e)
	d.startWorkers()
}

func (d *Dispatcher) waitForSender(e *endpoint) {
	if e.breaker.probePending || e.queue.len() > 0 && d.mayAttempt(e) {
		d.scheduler.wait(e)
	}
}

// startWorkers starts a worker for each free sender that an endpoint waits for.
func (d *Dispatcher) startWorkers() {
	for j := d.nextJob(); j != nil; j = d.nextJob() {
		d.workers.Go(func() { d.work(j) })
	}
}

// nextJob takes a sender for the endpoint whose turn it is, which then waits for its next turn. It returns nil if there is nothing to do.
func (d *Dispatcher) nextJob() *job {
	for e := d.scheduler.next(); e != nil; e = d.scheduler.next() {
		if j := d.takeJob(e); j != nil {
			d.waitForSender(e)
			return j
		}
	}
	return nil
}

// work does one job after the other. After each, the sender goes to the endpoint whose turn it is.
func (d *Dispatcher) work(j *job) {
	for j != nil {
		began := time.Now()
		if j.event == nil {
			d.runProbe(j.endpoint)
			d.mu.Lock()
		} else {
			outcome := d.send(j.endpoint, j.event, 1)
			d.mu.Lock()
			d.finishAttempt(j.endpoint, j.event, began, &outcome)
		}
		d.scheduler.release(j.permit)
		d.waitForSender(j.endpoint)
		next := d.nextJob()
		d.startWorkers()
		d.startReads()
		d.mu.Unlock()
		j = next
	}
}

// mayAttempt reports whether one more first attempt may be in flight.
func (d *Dispatcher) mayAttempt(e *endpoint) bool {
	return !d.closing && e.maySend() && e.attempts < e.maxAttempts() && d.Member.Alive() && d.mayMakeAttempt()
}

// takeJob returns the endpoint's next job, or nil. An endpoint that only lacks a sender waits for one again.
func (d *Dispatcher) takeJob(e *endpoint) *job {
	if d.closing {
		return nil
	}
	if e.breaker.probePending {
		if !d.mayMakeAttempt() {
			return nil
		}
		permit := d.takeSender(e)
		if permit == nil {
			return nil
		}
		e.breaker.probePending = false
		return &job{endpoint: e, permit: permit}
	}
	if !d.mayAttempt(e) {
		return nil
	}
	at := e.queue.next()
	if at < 0 {
		return nil
	}
	permit := d.takeSender(e)
	if permit == nil {
		return nil
	}
	if wait := e.limiter.take(time.Now()); wait > 0 {
		d.scheduler.release(permit)
		d.wakeAfter(e, wait)
		return nil
	}
	event := e.queue.take(at)
	e.attempts++
	d.requestRead(e)
	return &job{endpoint: e, event: event, permit: permit}
}

func (d *Dispatcher) takeSender(e *endpoint) *permit {
	permit := d.scheduler.acquire(e)
	if permit == nil {
		d.scheduler.wait(e)
	}
	return permit
}

// markSlow counts endpoints as slow whose requests have been in flight for long. Others may be sent to then.
func (d *Dispatcher) markSlow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.scheduler.markSlow(now)
	d.retryScheduler.markSlow(now)
	d.resume()
}
