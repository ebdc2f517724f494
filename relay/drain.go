package relay

import (
	"context"
	"errors"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// failTime bounds the drain after a failure of the outbox, when what is being sent can probably not be recorded.
const failTime = time.Second

// drain lets what is being sent end, records it, and leaves the group of relays. The caller keeps the heartbeat and the leader
// lock until it returns: a relay that took over earlier would repeat what is not recorded yet.
func (s *shift) drain(ctx context.Context, failed error, stopSending func()) error {
	sendTime, recordTime := failTime, failTime
	if stopping := ctx.Err() != nil; stopping {
		sendTime, recordTime = s.config.Delivery.Timeout.Duration, recordTimeout
	}
	timer := time.AfterFunc(sendTime, stopSending)
	s.dispatch.close()
	timer.Stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if errors.Is(failed, outbox.ErrFenced) {
		return s.member.Leave(ctx) // nothing that it records is valid any more
	}
	return errors.Join(s.dispatch.flushAll(ctx), s.member.Leave(ctx))
}

// close stops sending: what is being sent may end until sendCtx is cancelled, what waits is left in the event log.
func (d *dispatcher) close() {
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
func (d *dispatcher) settle() {
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
func (d *dispatcher) parkPassedOver(e *endpoint) {
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

// flushAll records everything, however often the outbox has to be asked, until ctx ends.
func (d *dispatcher) flushAll(ctx context.Context) error {
	backoff := newPause()
	for {
		err := d.flush(ctx)
		if err == nil || !passing(err) || errors.Is(err, outbox.ErrFenced) || backoff.wait(ctx, 0) != nil {
			return err
		}
	}
}
