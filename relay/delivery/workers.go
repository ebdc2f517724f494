package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// job is one use of a sender: an event to send, or, without one, the probe of an endpoint that was paused.
type job struct {
	endpoint *endpoint
	event    *outbox.Event
	permit   *permit
}

// pump starts as many requests as the endpoint may have. Where no sender is free for it, it waits for its turn.
func (d *Dispatcher) pump(e *endpoint) {
	d.queueForSender(e)
	d.startWaiting()
}

func (d *Dispatcher) queueForSender(e *endpoint) {
	if e.probePending || len(e.queue) > 0 && d.mayTake(e) {
		d.scheduler.wait(e)
	}
}

// startWaiting gives the free senders to those that wait for one.
func (d *Dispatcher) startWaiting() {
	for j := d.nextJob(); j != nil; j = d.nextJob() {
		d.workers.Go(func() { d.work(j) })
	}
}

// nextJob takes a sender for the endpoint whose turn it is, which then waits for its next turn; nil if there is none.
func (d *Dispatcher) nextJob() *job {
	for e := d.scheduler.next(); e != nil; e = d.scheduler.next() {
		if j := d.take(e); j != nil {
			d.queueForSender(e)
			return j
		}
	}
	return nil
}

// work does one job after the other. Between them it gives its sender to the endpoint whose turn it is.
func (d *Dispatcher) work(j *job) {
	for j != nil {
		began := time.Now()
		if j.event == nil {
			d.runProbe(j.endpoint)
			d.mu.Lock()
		} else {
			outcome := d.send(j.endpoint, j.event, 1)
			d.mu.Lock()
			d.finish(j.endpoint, j.event, began, outcome)
		}
		d.scheduler.release(j.permit)
		d.queueForSender(j.endpoint)
		next := d.nextJob()
		d.startWaiting()
		d.startReads()
		d.mu.Unlock()
		j = next
	}
}

func (d *Dispatcher) mayTake(e *endpoint) bool {
	return !d.closing && e.served && e.open() && !e.letGo && e.workers < e.mayWork() && d.Member.Alive()
}

// take returns the next job of the endpoint with a sender for it, or nil. An endpoint that only lacks a sender waits for one.
func (d *Dispatcher) take(e *endpoint) *job {
	if d.closing || !e.probePending && !d.mayTake(e) {
		return nil
	}
	at := -1
	if !e.probePending {
		if at = e.pick(); at < 0 {
			return nil
		}
	}
	permit := d.scheduler.acquire(e)
	if permit == nil {
		d.scheduler.wait(e)
		return nil
	}
	if e.probePending {
		e.probePending = false
		return &job{endpoint: e, permit: permit}
	}
	if wait := e.limiter.wait(time.Now()); wait > 0 {
		d.scheduler.release(permit)
		d.wake(e, wait)
		return nil
	}
	event := e.unqueue(at)
	e.workers++
	e.sending[event.ID] = e.key(event)
	d.refill(e)
	return &job{endpoint: e, event: event, permit: permit}
}

// age notices requests that have been on their way for long.
func (d *Dispatcher) age() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.scheduler.age(time.Now())
	d.retryScheduler.age(time.Now())
}
