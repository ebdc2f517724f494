package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"golang.org/x/sync/errgroup"
)

// Run delivers until ctx ends or the outbox fails. Then Stop and FlushAll complete it.
func (d *Dispatcher) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.record(ctx) })
	group.Go(func() error { return d.retry(ctx) })
	group.Go(func() error { return d.share(ctx) })
	group.Go(func() error { return d.watch(ctx) })
	return group.Wait()
}

// Stop ends sending: requests on their way may finish within the limit, events that wait stay in the event log.
func (d *Dispatcher) Stop(limit time.Duration) {
	timer := time.AfterFunc(limit, d.cancelSending)
	defer timer.Stop()
	d.close()
	d.cancelSending()
}

func (d *Dispatcher) close() {
	d.mu.Lock()
	d.closing = true
	for _, e := range d.endpoints {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
	d.mu.Unlock()
	d.workers.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
}

// settle gives each endpoint that is ahead of the common mark a cursor: the next leader would otherwise repeat, from that mark
// on, what this one has delivered.
func (d *Dispatcher) settle() {
	for _, e := range d.endpoints {
		if e.served && !e.gone() {
			d.parkPassedOver(e)
		}
	}
	mark := d.mark()
	for _, e := range d.endpoints {
		if e.served && !e.gone() && e.done(d.head) > mark {
			e.own = true
		}
	}
	d.settled = true
}

// parkPassedOver parks the events that waited for an earlier one of their resource while later events of other resources were
// sent: a cursor cannot say that those are done and these are not.
func (d *Dispatcher) parkPassedOver(e *endpoint) {
	last := int64(0)
	for id := range e.ahead {
		last = max(last, id)
	}
	if last == 0 || e.behind && e.readFrom < last {
		return
	}
	kept := e.queue[:0]
	for _, event := range e.queue {
		if event.ID < last {
			d.parkBehind(e, event, e.key(event))
			d.pool.release(e.account, event.ID)
		} else {
			kept = append(kept, event)
		}
	}
	clear(e.queue[len(kept):])
	e.queue = kept
}

// FlushAll records everything, however often the outbox has to be asked, until ctx ends.
func (d *Dispatcher) FlushAll(ctx context.Context) error {
	backoff := loop.NewBackoff()
	for {
		err := d.flush(ctx)
		if err == nil || !outbox.IsTransient(err) || errors.Is(err, outbox.ErrFenced) || backoff.Wait(ctx, 0) != nil {
			return err
		}
	}
}
