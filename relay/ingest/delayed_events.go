package ingest

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// held says what the store has of events that a later change may cancel. They are stored with the transaction that made them,
// and leave the store with the one that cancels or releases them. Time is the IAM's commit time, never this machine's.
type delayedEvents struct {
	count int
	// first: none is due before. Zero if there is none.
	first time.Time
}

func (h *delayedEvents) add(e outbox.DelayedEvent) {
	if h.count++; h.first.IsZero() || e.Due.Before(h.first) {
		h.first = e.Due
	}
}

func (h *delayedEvents) drop(n int) {
	if h.count -= n; h.count == 0 {
		h.first = time.Time{}
	}
}

func (h *delayedEvents) len() int { return h.count }

// due is a time before which none may go, or the zero time.
func (h *delayedEvents) due() time.Time { return h.first }

func (h *delayedEvents) overdue(now time.Time) bool { return !h.first.IsZero() && now.After(h.first) }

// releasePoll is how often a due event asks whether the log has been read far enough, releaseLook how often one that does not
// seem to be due asks the IAM's clock.
const (
	releasePoll = 50 * time.Millisecond
	releaseLook = 5 * time.Second
)

// wait is how long until the next event is due, as this machine's clock guesses. It may be wrong by hours, so the guess is
// trusted for a few seconds only.
func (h *delayedEvents) wait(now time.Time) time.Duration {
	due := h.due()
	if due.IsZero() {
		return time.Hour
	}
	return min(max(due.Sub(now), releasePoll), releaseLook)
}

// releaseChunk is how many held events are released in one commit.
const releaseChunk = 500

// release moves the stored events whose time has passed into the log, in commits of their own at lsn.
func (in *Ingester) release(ctx context.Context, now time.Time, lsn cdc.LSN) error {
	for {
		due, err := in.Leader.DelayedDue(ctx, now, releaseChunk)
		if err != nil {
			return err
		}
		if len(due) == 0 {
			in.held.count, in.held.first, err = in.Store.DelayedCount(ctx)
			return err
		}
		began, last := time.Now(), in.lastEvent
		chunk := &outbox.Chunk{DelayedDone: due, Mark: in.seen}
		for i := range due {
			last++
			due[i].ID = last
			chunk.Add(due[i].Event)
		}
		if err := in.Leader.Commit(ctx, chunk, lsn, last); err != nil {
			return err
		}
		in.held.drop(len(due))
		in.committed(chunk, lsn, last, began)
	}
}

// releaseHeld moves the events whose time has passed from what a chunk holds into the log.
func (in *Ingester) releaseHeld(now time.Time, chunk *outbox.Chunk, last int64) int64 {
	chunk.Delayed = slices.DeleteFunc(chunk.Delayed, func(h outbox.DelayedEvent) bool {
		if !now.After(h.Due) {
			return false
		}
		last++
		h.ID = last
		chunk.Add(h.Event)
		in.held.drop(1)
		return true
	})
	return last
}

// cancelHeld drops the events that a transaction's changes, whose matches are sorted, cancel.
func (in *Ingester) cancelHeld(follows []string, tx *cdc.Transaction, chunk *outbox.Chunk) {
	if len(follows) == 0 {
		return
	}
	if in.held.count > len(chunk.Delayed) {
		chunk.Cancel = append(chunk.Cancel, outbox.Cancellation{Keys: follows, By: tx.Commit, At: tx.Time})
	}
	chunk.Delayed = slices.DeleteFunc(chunk.Delayed, func(h outbox.DelayedEvent) bool {
		if _, follows := slices.BinarySearch(follows, h.CancelKey); !follows || h.LSN == tx.Commit || tx.Time.After(h.Due) {
			return false
		}
		in.held.drop(1)
		return true
	})
}

// logClock tells when the log has been read up to a time. On a silent source no commit says so: the relay asks the server
// for its clock and its place in the log, and once the stream has passed that place, everything committed until then is known.
type walClock struct {
	ask func(context.Context) (cdc.LSN, time.Time, error)
	log *slog.Logger

	at    cdc.LSN
	now   time.Time
	again time.Time // not to be asked before, because it did not answer
}

// sample asks the server, if its clock is needed, and reports whether the stream has to reach the sampled position. A server that does
// not answer is noticed by the stream.
func (c *walClock) sample(ctx context.Context, due time.Time) bool {
	if due.IsZero() || time.Now().Before(c.again) {
		return false
	}
	if c.at == 0 {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		at, now, err := c.ask(ctx)
		if err != nil {
			c.log.Warn("could not read the source database's clock; retrying", "err", err)
			c.again = time.Now().Add(askPause)
			return false
		}
		if now.After(due) {
			c.at, c.now = at, now
		}
	}
	return true
}

const (
	askTimeout = 5 * time.Second
	askPause   = time.Second
)

// reached reports whether everything up to a sampled time has been read.
func (c *walClock) reached(lsn cdc.LSN) bool { return c.at != 0 && lsn >= c.at }

// time returns the sampled time and forgets the sample.
func (c *walClock) time() time.Time {
	now := c.now
	c.at = 0
	return now
}
