package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

// ledger collects what delivery has done until it is recorded. Guarded by the dispatcher's mutex.
type ledger struct {
	pending outbox.Delivery
	// recording is what was collected and is not known to be in the store: it is recorded before anything else.
	recording *outbox.Delivery
	full      chan struct{} // many entries wait: record now
	broken    chan error    // the store could not be read
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
		Response: string(o.Snippet), Phases: outbox.Phases(o.Phases),
	}
	if o.Err != nil {
		a.Error = errorText(o.Err)
	}
	l.pending.Attempts = append(l.pending.Attempts, a)
	if len(l.pending.Attempts) >= recordAt {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// maxErrorText bounds what is stored of an attempt's error.
const maxErrorText = 4 << 10

// errorText makes of an error what a column of text takes: it may quote what a receiver has sent.
func errorText(err error) string {
	return strings.ReplaceAll(strings.ToValidUTF8(webhook.Truncate(err.Error(), maxErrorText), "\uFFFD"), "\x00", "\uFFFD")
}

func (l *ledger) park(p outbox.Retry) { l.pending.Retries = append(l.pending.Retries, p) }

func (l *ledger) unpark(webhookID, event int64) {
	l.pending.RetriesDone = append(l.pending.RetriesDone, outbox.DeliveryKey{Event: event, Webhook: webhookID})
}

// unlease gives a claimed delivery back as it was.
func (l *ledger) unlease(webhookID, event int64) {
	l.pending.RetriesReleased = append(l.pending.RetriesReleased, outbox.DeliveryKey{Event: event, Webhook: webhookID})
}

func (l *ledger) disable(webhookID int64, d outbox.Disabling) {
	if l.pending.Disable == nil {
		l.pending.Disable = map[int64]outbox.Disabling{}
	}
	l.pending.Disable[webhookID] = d
}

func (l *ledger) health(webhookID int64, h outbox.Health) {
	if l.pending.Health == nil {
		l.pending.Health = map[int64]outbox.Health{}
	}
	l.pending.Health[webhookID] = h
}

func (l *ledger) agreed(webhookID int64, to string) {
	if l.pending.Handshakes == nil {
		l.pending.Handshakes = map[int64]string{}
	}
	l.pending.Handshakes[webhookID] = to
}

func (l *ledger) notice(n outbox.OperationalEvent) {
	l.pending.OperationalEvents = append(l.pending.OperationalEvents, n)
}

// unwritten reports whether the store does not know yet what was parked or delivered.
func (l *ledger) unwritten() bool {
	return l.recording != nil || len(l.pending.Retries) > 0 || len(l.pending.RetriesDone) > 0
}

func (l *ledger) fail(err error) {
	select {
	case l.broken <- err:
	default:
	}
}

func (l *ledger) random() float64 { return rand.Float64() }

// record writes the ledger to the store now and then, until ctx ends; the drain records the rest. An error ends the membership:
// the outbox is gone, or another relay has taken over.
func (d *Dispatcher) record(ctx context.Context) error {
	return loop.Every(ctx, d.stretch*recordEvery, d.ledger.full, func(ctx context.Context) error {
		select {
		case err := <-d.ledger.broken:
			return err
		default:
		}
		// What has begun to be recorded is not given up at once because the relay stops: it would be delivered once more.
		ctx, cancel := loop.Grace(ctx, recordGrace)
		defer cancel()
		d.age()
		return d.flush(ctx)
	})
}

const (
	// recordTimeout bounds one write of the ledger.
	recordTimeout = 20 * time.Second
	// recordGrace is how long a write may go on after the relay was stopped. The drain writes what was not.
	recordGrace = 5 * time.Second
)

// flush records what there is to record, first of all a batch whose recording has failed before.
func (d *Dispatcher) flush(ctx context.Context) error {
	for again := true; again; {
		d.mu.Lock()
		again = d.ledger.recording != nil
		d.mu.Unlock()
		if err := d.flushBatch(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dispatcher) flushBatch(ctx context.Context) error {
	pending, epoch := d.collect()
	if pending == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	lost, err := d.Member.Record(ctx, epoch, pending)
	if err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	d.mu.Lock()
	d.ledger.recording = nil
	d.mu.Unlock()
	d.lost(lost)
	return nil
}

// collect returns what is to be written together, or nil: outcomes, and the places that follow from exactly these outcomes.
func (d *Dispatcher) collect() (*outbox.Delivery, int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ledger.recording != nil {
		return d.ledger.recording, d.epoch()
	}
	pending := d.ledger.pending
	d.ledger.pending = outbox.Delivery{}
	pending.Cursors = map[int64]outbox.CursorUpdate{}
	mark := d.mark()
	for _, e := range d.endpoints {
		d.place(e, mark, pending.Cursors)
	}
	if len(pending.Health) > 0 {
		pending.ResumeCounts = make(map[int64]int, len(pending.Health))
	}
	for id := range pending.Health {
		if e := d.endpoints[id]; e != nil {
			pending.ResumeCounts[id] = e.resumed
		}
	}
	moved := mark != d.delivered
	pending.Delivered, d.delivered = mark, mark
	if !moved && len(pending.Attempts) == 0 && len(pending.Retries) == 0 && len(pending.RetriesDone) == 0 && len(pending.RetriesReleased) == 0 && len(pending.Cursors) == 0 &&
		len(pending.Health) == 0 && len(pending.Handshakes) == 0 && len(pending.Disable) == 0 && len(pending.OperationalEvents) == 0 {
		return nil, 0
	}
	d.ledger.recording = &pending
	return &pending, d.epoch()
}

// epoch is that of the leadership, 0 while another relay leads.
func (d *Dispatcher) epoch() int64 {
	if d.leader == nil {
		return 0
	}
	return d.leader.Epoch()
}

// mark is the event up to which all endpoints without a place of their own are done. Only the leader has such.
func (d *Dispatcher) mark() int64 {
	if d.leader == nil {
		return d.delivered
	}
	mark := d.head
	for _, e := range d.endpoints {
		if e.served && !e.own && !e.gone() {
			mark = min(mark, e.done(d.head))
		}
	}
	return max(mark, d.delivered)
}

// place keeps the stored cursor of an endpoint that has one of its own. The leader gives the cursor up once the endpoint has
// caught up with the common mark, so that the mark never moves back; another relay gives the whole endpoint up.
func (d *Dispatcher) place(e *endpoint, mark int64, places map[int64]outbox.CursorUpdate) {
	if !e.served {
		return
	}
	done := e.done(d.head)
	e.settled(done)
	if !e.own {
		return
	}
	idle := len(e.sending) == 0 && len(e.queue) == 0 && !e.reading && e.retries == 0 && !e.probing
	switch {
	case d.leader != nil && (e.gone() || !e.behind && done >= mark) && (done == mark || !d.settled):
		e.own = false
		if e.stored != nil {
			e.stored = nil
			places[e.id] = outbox.CursorUpdate{Live: true}
		}
		return
	case idle && (e.letGo || d.leader == nil && e.readFrom >= d.head && e.open() && !e.half):
		places[e.id] = outbox.CursorUpdate{Cursor: done, Released: true}
		d.drop(e)
		return
	}
	if e.stored == nil || *e.stored != done {
		e.stored = &done
		places[e.id] = outbox.CursorUpdate{Cursor: done}
	}
}
