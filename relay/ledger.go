package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// ledger collects what delivery has done until it is recorded. Guarded by the dispatcher's mutex.
type ledger struct {
	pending outbox.Delivery
	full    chan struct{} // many entries wait: record now
	broken  chan error    // the log could not be read
}

const (
	// recordEvery is how long an outcome may wait for others to be recorded with.
	recordEvery = 100 * time.Millisecond
	// recordAt is how many outcomes do not wait.
	recordAt = 1000
)

func (l *ledger) init() {
	l.full, l.broken = make(chan struct{}, 1), make(chan error, 1)
}

func (l *ledger) attempt(webhookID, event int64, number int, began time.Time, o webhook.Outcome) {
	a := outbox.Attempt{
		Event: event, Webhook: webhookID, Number: number, At: began, Duration: o.Duration, Class: string(o.Class), Status: o.Status,
		Response: string(o.Snippet),
	}
	l.pending.Attempts = append(l.pending.Attempts, a)
	if len(l.pending.Attempts) >= recordAt {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

func (l *ledger) park(p outbox.Parked) { l.pending.Park = append(l.pending.Park, p) }

func (l *ledger) unpark(webhookID, event int64) {
	l.pending.Unpark = append(l.pending.Unpark, outbox.DeliveryKey{Event: event, Webhook: webhookID})
}

func (l *ledger) disable(webhookID int64, reason string) {
	if l.pending.Disable == nil {
		l.pending.Disable = map[int64]string{}
	}
	l.pending.Disable[webhookID] = reason
}

func (l *ledger) fail(err error) {
	select {
	case l.broken <- err:
	default:
	}
}

func (l *ledger) random() float64 { return rand.Float64() }

// record writes the ledger to the store now and then, until ctx ends. An error ends the term: the outbox is gone, or another
// relay has taken over.
func (d *dispatcher) record(ctx context.Context) error {
	tick := time.NewTicker(recordEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-d.ledger.broken:
			return err
		case <-d.ledger.full:
		case <-tick.C:
		}
		if err := d.flush(ctx); err != nil {
			return err
		}
	}
}

// recordTimeout bounds one write of the ledger.
const recordTimeout = 20 * time.Second

func (d *dispatcher) flush(ctx context.Context) error {
	pending := d.take()
	if pending == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	if err := d.leader.Record(ctx, pending); err != nil {
		return fmt.Errorf("deliveries that were made will be repeated: %w", err)
	}
	return nil
}

// take returns what is to be written together, or nil: outcomes, and the places that follow from exactly these outcomes.
func (d *dispatcher) take() *outbox.Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	pending := d.ledger.pending
	d.ledger.pending = outbox.Delivery{}
	pending.Cursors = map[int64]*int64{}
	mark := d.head
	for _, e := range d.endpoints {
		if !e.own && !e.gone() {
			mark = min(mark, e.done(d.head))
		}
	}
	mark = max(mark, d.delivered)
	for _, e := range d.endpoints {
		d.place(e, mark, pending.Cursors)
	}
	moved := mark != d.delivered
	pending.Delivered, d.delivered = mark, mark
	if !moved && len(pending.Attempts) == 0 && len(pending.Park) == 0 && len(pending.Unpark) == 0 && len(pending.Cursors) == 0 && len(pending.Disable) == 0 {
		return nil
	}
	return &pending
}

// place keeps the stored cursor of an endpoint that has one of its own. It gives the cursor up once it has caught up with the
// common mark, so that the mark never moves back.
func (d *dispatcher) place(e *endpoint, mark int64, cursors map[int64]*int64) {
	if !e.own {
		return
	}
	done := e.done(d.head)
	if e.gone() || (!e.behind && done >= mark) {
		e.own = false
		if e.stored != nil {
			e.stored = nil
			cursors[e.id] = nil
		}
		return
	}
	if e.stored == nil || *e.stored != done {
		e.stored = &done
		cursors[e.id] = &done
	}
}
