package ingest

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// delayedEvents summarizes the stored events that a later change may cancel (unless_followed). They are stored in the commit of their own
// transaction and removed in the one that cancels or releases them. Due times are commit times of the IAM, never this machine's time.
type delayedEvents struct {
	count    int
	firstDue time.Time // no event is due before it; zero if there is none
}

func (h *delayedEvents) add(e outbox.DelayedEvent) {
	if h.count++; h.firstDue.IsZero() || e.Due.Before(h.firstDue) {
		h.firstDue = e.Due
	}
}

func (h *delayedEvents) drop(n int) {
	if h.count -= n; h.count == 0 {
		h.firstDue = time.Time{}
	}
}

func (h *delayedEvents) len() int { return h.count }

// due returns a time before which no event is due; zero if there is none.
func (h *delayedEvents) due() time.Time { return h.firstDue }

func (h *delayedEvents) overdue(now time.Time) bool {
	return !h.firstDue.IsZero() && now.After(h.firstDue)
}

const (
	// releasePoll is how often to check whether the WAL has been read far enough to release a due event.
	releasePoll = 50 * time.Millisecond
	// maxReleaseWait is how long at most to rely on this machine's clock before reading the IAM's.
	maxReleaseWait = 5 * time.Second
)

// wait returns how long to wait before the next event may be due. This machine's clock may be wrong by hours, so the result is at most
// maxReleaseWait while there is an event.
func (h *delayedEvents) wait(now time.Time) time.Duration {
	due := h.due()
	if due.IsZero() {
		return time.Hour
	}
	return min(max(due.Sub(now), releasePoll), maxReleaseWait)
}

// releaseTimer fires when the next delayed event may be due.
type releaseTimer struct {
	*time.Timer
	at time.Time // when it fires; zero once it has
}

func newReleaseTimer() *releaseTimer {
	return &releaseTimer{Timer: time.NewTimer(time.Hour), at: time.Now().Add(time.Hour)}
}

// within makes the timer fire after d, unless it does so earlier. Other work that comes again and again does not postpone it.
func (t *releaseTimer) within(d time.Duration) {
	if at := time.Now().Add(d); t.at.IsZero() || at.Before(t.at) {
		t.at = at
		t.Reset(d)
	}
}

func (t *releaseTimer) fired() { t.at = time.Time{} }

// release moves the stored events that are due at now into the event log, in separate commits at lsn.
func (in *Ingester) release(ctx context.Context, now time.Time, lsn cdc.LSN) error {
	for {
		due, err := in.Leader.DelayedDue(ctx, now, in.limits.releaseChunk)
		if err != nil {
			return err
		}
		if len(due) == 0 {
			in.delayed.count, in.delayed.firstDue, err = in.Store.DelayedCount(ctx)
			return err
		}
		began, last := time.Now(), in.lastEvent
		chunk := &outbox.Chunk{DelayedDone: due, Mark: in.pendingMark}
		for i := range due {
			last++
			due[i].ID = last
			chunk.Add(due[i].Event)
		}
		if err := in.Leader.Commit(ctx, chunk, lsn, last); err != nil {
			return err
		}
		in.delayed.drop(len(due))
		in.committed(chunk, lsn, last, began)
	}
}

// releaseFromChunk releases the delayed events that are due at now and not stored yet, because they are of the same chunk.
func (in *Ingester) releaseFromChunk(now time.Time, chunk *outbox.Chunk, last int64) int64 {
	chunk.Delayed = slices.DeleteFunc(chunk.Delayed, func(h outbox.DelayedEvent) bool {
		if !now.After(h.Due) {
			return false
		}
		last++
		h.ID = last
		chunk.Add(h.Event)
		in.delayed.drop(1)
		return true
	})
	return last
}

// cancelDelayed drops the delayed events that the transaction cancels. cancelKeys is sorted.
func (in *Ingester) cancelDelayed(cancelKeys []string, tx *cdc.Transaction, chunk *outbox.Chunk) {
	if len(cancelKeys) == 0 {
		return
	}
	if in.delayed.count > len(chunk.Delayed) {
		chunk.Cancel = append(chunk.Cancel, outbox.Cancellation{Keys: cancelKeys, By: tx.Commit, At: tx.Time})
	}
	chunk.Delayed = slices.DeleteFunc(chunk.Delayed, func(h outbox.DelayedEvent) bool {
		if _, cancelled := slices.BinarySearch(cancelKeys, h.CancelKey); !cancelled || h.LSN == tx.Commit || tx.Time.After(h.Due) {
			return false
		}
		in.delayed.drop(1)
		return true
	})
}

// walClock finds out up to which commit time the WAL has been read. An idle source has no commits that show it, so the relay reads the
// server's clock and the end of its WAL: once the stream has passed that position, everything committed until then has been read.
type walClock struct {
	ask func(context.Context) (cdc.LSN, time.Time, error)
	log *slog.Logger

	at         cdc.LSN // the sampled position; 0 if there is no sample
	now        time.Time
	retryAfter time.Time // set after a failure
}

// sample reads the server's clock if there is no sample, and reports whether the stream must reach the sampled position. A failure is
// logged; the stream notices a dead server.
func (c *walClock) sample(ctx context.Context, due time.Time) bool {
	if due.IsZero() || time.Now().Before(c.retryAfter) {
		return false
	}
	if c.at == 0 {
		ctx, cancel := context.WithTimeout(ctx, clockTimeout)
		defer cancel()
		at, now, err := c.ask(ctx)
		if err != nil {
			c.log.Warn("could not read the source database's clock; retrying", "err", err)
			c.retryAfter = time.Now().Add(clockRetry)
			return false
		}
		if now.After(due) {
			c.at, c.now = at, now
		}
	}
	return true
}

const (
	clockTimeout = 5 * time.Second
	clockRetry   = time.Second
)

// reached reports whether everything up to the sampled time has been read.
func (c *walClock) reached(lsn cdc.LSN) bool { return c.at != 0 && lsn >= c.at }

// time returns the sampled time and forgets the sample.
func (c *walClock) time() time.Time {
	now := c.now
	c.at = 0
	return now
}
