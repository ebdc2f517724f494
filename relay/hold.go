package relay

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// held are the events that a later change may cancel, oldest first. They are stored with the transaction that made them and
// leave the store with the one that cancels or releases them. Time is the IAM's commit time, never this machine's.
type held struct {
	events []outbox.Held
}

func (h *held) add(e outbox.Held) { h.events = append(h.events, e) }
func (h *held) len() int          { return len(h.events) }

// due is the earliest time at which an event may go, or the zero time.
func (h *held) due() time.Time {
	var first time.Time
	for i := range h.events {
		if u := h.events[i].Until; first.IsZero() || u.Before(first) {
			first = u
		}
	}
	return first
}

// releasePoll is how often a due event asks whether the log has been read far enough, releaseLook how often one that does not
// seem to be due asks the IAM's clock.
const (
	releasePoll = 50 * time.Millisecond
	releaseLook = 5 * time.Second
)

// wait is how long until the next event is due, as this machine's clock guesses. It may be wrong by hours, so the guess is
// trusted for a few seconds only.
func (h *held) wait(now time.Time) time.Duration {
	due := h.due()
	if due.IsZero() {
		return time.Hour
	}
	return min(max(due.Sub(now), releasePoll), releaseLook)
}

// releaseHeld moves the events whose time has passed into the log.
func (in *ingest) releaseHeld(now time.Time, chunk *outbox.Chunk, last int64) int64 {
	if len(in.held.events) == 0 {
		return last
	}
	in.held.events = slices.DeleteFunc(in.held.events, func(h outbox.Held) bool {
		if !now.After(h.Until) {
			return false
		}
		last++
		chunk.Unhold = append(chunk.Unhold, h)
		h.ID = last
		chunk.Events = append(chunk.Events, h.Event)
		return true
	})
	return last
}

// cancelHeld drops the events that a transaction's changes cancel.
func (in *ingest) cancelHeld(follows []string, tx *cdc.Transaction, chunk *outbox.Chunk) {
	if len(follows) == 0 {
		return
	}
	in.held.events = slices.DeleteFunc(in.held.events, func(h outbox.Held) bool {
		if h.LSN == tx.Commit || tx.Time.After(h.Until) || !slices.Contains(follows, h.Match) {
			return false
		}
		chunk.Unhold = append(chunk.Unhold, h)
		return true
	})
}

// logClock tells when the log has been read up to a time. On a silent source no commit says so: the relay asks the server
// for its clock and its place in the log, and once the stream has passed that place, everything committed until then is known.
type logClock struct {
	ask  func(context.Context) (cdc.LSN, time.Time, error)
	ping func()
	log  *slog.Logger

	at    cdc.LSN
	now   time.Time
	again time.Time // not to be asked before, because it did not answer
}

// sample asks the server, if its clock is needed. A server that does not answer will be noticed by whoever streams from it.
func (c *logClock) sample(ctx context.Context, due time.Time) {
	if due.IsZero() || time.Now().Before(c.again) {
		return
	}
	if c.at == 0 {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		at, now, err := c.ask(ctx)
		if err != nil {
			c.log.Warn("the source did not tell its clock", "err", err)
			c.again = time.Now().Add(askPause)
			return
		}
		if now.After(due) {
			c.at, c.now = at, now
		}
	}
	c.ping()
}

const (
	askTimeout = 5 * time.Second
	askPause   = time.Second
)

// reached reports whether everything up to a sampled time has been read.
func (c *logClock) reached(lsn cdc.LSN) bool { return c.at != 0 && lsn >= c.at }

// time returns the sampled time and forgets the sample.
func (c *logClock) time() time.Time {
	now := c.now
	c.at = 0
	return now
}
