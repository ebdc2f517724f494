package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/iam-relay/iam-relay/relay/loop"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

const (
	// recordEvery is how long an outcome may wait for others to be recorded with.
	recordEvery = 100 * time.Millisecond
	// recordTimeout bounds one write.
	recordTimeout = 20 * time.Second
	// recordGrace is how long a write may go on after the relay was stopped. What it has not written, FlushAll writes.
	recordGrace = 5 * time.Second
)

// record writes outcomes to the outbox until ctx ends. An error ends the membership: the outbox cannot be written, or another relay
// has taken over.
func (d *Dispatcher) record(ctx context.Context) error {
	return loop.Every(ctx, d.stretched(recordEvery), d.recorder.full, func(ctx context.Context) error {
		select {
		case err := <-d.recorder.broken:
			return err
		default:
		}
		// A write that has begun may end although the relay stops: what is not recorded is delivered again.
		ctx, cancel := loop.Grace(ctx, recordGrace)
		defer cancel()
		d.markSlow()
		return d.flush(ctx)
	})
}

// flush writes all outcomes: the batch that failed before, if there is one, and then the rest.
func (d *Dispatcher) flush(ctx context.Context) error {
	for again := true; again; {
		d.mu.Lock()
		again = d.recorder.recording != nil
		d.mu.Unlock()
		if err := d.flushBatch(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dispatcher) flushBatch(ctx context.Context) error {
	batch, epoch := d.nextBatch()
	if batch == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	lost, err := d.Member.Record(ctx, epoch, batch)
	if err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	d.mu.Lock()
	d.recorder.recorded()
	d.proven = d.proven || len(batch.Attempts) > 0
	d.mu.Unlock()
	d.leasesLost(lost)
	d.mu.Lock()
	d.resume()
	d.mu.Unlock()
	return nil
}

// nextBatch returns the outcomes to write, with the cursors and the watermark that follow from exactly these outcomes, or nil.
func (d *Dispatcher) nextBatch() (batch *outbox.Delivery, epoch int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.leader != nil {
		epoch = d.leader.Epoch()
	}
	return d.recorder.batch(d.completeBatch), epoch
}

// completeBatch adds cursors and watermark, and reports whether the watermark has moved.
func (d *Dispatcher) completeBatch(batch *outbox.Delivery) (moved bool) {
	batch.Cursors = map[int64]outbox.CursorUpdate{}
	watermark := d.currentWatermark()
	for _, e := range d.endpoints {
		d.recordCursor(e, watermark, batch.Cursors)
	}
	for id := range batch.Health {
		if e := d.endpoints[id]; e != nil {
			put(&batch.ResumeCounts, id, e.resumeCount)
		}
	}
	moved = watermark != d.watermark
	batch.Delivered, d.watermark = watermark, watermark
	return moved
}

// FlushAll writes all outcomes, as often as the outbox has to be tried, until ctx ends.
func (d *Dispatcher) FlushAll(ctx context.Context) error {
	backoff := loop.NewBackoff()
	for {
		err := d.flush(ctx)
		if err == nil || !outbox.IsTransient(err) || errors.Is(err, outbox.ErrFenced) || backoff.Wait(ctx, 0) != nil {
			return err
		}
	}
}
