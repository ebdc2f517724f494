package delivery

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// Run delivers until ctx ends or the outbox fails. Stop and FlushAll complete it.
func (d *Dispatcher) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.record(ctx) })
	group.Go(func() error { return d.sendDueRetries(ctx) })
	group.Go(func() error { return d.balanceLeases(ctx) })
	group.Go(func() error { return d.watchWebhooks(ctx) })
	return group.Wait()
}

// Stop ends sending: requests in flight may finish within the limit, and waiting events stay in the event log.
func (d *Dispatcher) Stop(limit time.Duration) {
	timer := time.AfterFunc(limit, d.cancelSending)
	defer timer.Stop()
	d.drain()
	d.cancelSending()
}

func (d *Dispatcher) drain() {
	d.mu.Lock()
	d.closing = true
	for _, e := range d.endpoints {
		e.stopTimer()
	}
	d.mu.Unlock()
	d.workers.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addCursors()
}

// addCursors gives a cursor to each endpoint that is ahead of the watermark. The next leader would otherwise send again, from the watermark on,
// what this one has delivered.
func (d *Dispatcher) addCursors() {
	for _, e := range d.endpoints {
		if e.owned && !e.gone() {
			d.deferPassed(e)
		}
	}
	watermark := d.currentWatermark()
	for _, e := range d.endpoints {
		if e.owned && !e.gone() && e.done(d.head) > watermark {
			e.cursor.exists = true
		}
	}
	d.drained = true
}

// deferPassed makes retries of the waiting events that later ones of other resources have passed: a cursor cannot say that the later ones
// are done and these are not.
func (d *Dispatcher) deferPassed(e *endpoint) {
	last := e.queue.lastAhead()
	if last == 0 || e.cursor.catchingUp && e.cursor.readFrom < last {
		return
	}
	e.queue.remove(
		func(event *outbox.Event) bool { return event.ID < last },
		func(event *outbox.Event) { d.deferEvent(e, event) },
	)
}
