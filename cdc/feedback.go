package cdc

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// statusPause is the least time between two status updates, but for a Ping: a server that shuts down answers each at once,
// and under load each commit to the outbox acknowledges.
const minStatusInterval = 100 * time.Millisecond

// feedback is what the server was told last, and when it must hear again.
type standbyStatus struct {
	interval time.Duration // the longest silence, a third of wal_sender_timeout: the server asks at half of it
	sent   LSN
	sentAt time.Time
	replyOwed   bool // the server asked for a reply
}

// position is what may be acknowledged: what the consumer called durable, but never more than it was given on this
// connection, and nothing new before the server's history is proven to hold the stored position. The server believes anything, and forgets what is before it.
func (st *stream) acknowledgeable() LSN {
	position := min(LSN(st.source.durable.Load()), st.handedOver)
	if e := st.decoder.history; e.pending() {
		return min(position, e.confirmed)
	}
	return position
}

// report sends a status update if one is due.
func (st *stream) sendStatus(ctx context.Context, now time.Time) error {
	f := &st.status
	since := now.Sub(f.sentAt)
	ping := st.source.pinged.Load() && st.source.pinged.Swap(false)
	if since >= minStatusInterval && st.source.acknowledged.Load() {
		st.source.acknowledged.Store(false) // before the position is read, so that a later one is not missed
	}
	position := st.acknowledgeable()
	switch {
	case ping, since >= f.interval:
	case since >= minStatusInterval && (f.replyOwed || position != f.sent):
	default:
		return nil
	}
	if ping {
		st.idle.pingPending = true
	}
	// Write, flush and apply are always set: a zero flush position would be replaced by the write position.
	update := pglogrepl.StandbyStatusUpdate{
		WALWritePosition: pglogrepl.LSN(position), WALFlushPosition: pglogrepl.LSN(position), WALApplyPosition: pglogrepl.LSN(position),
		ReplyRequested: ping || now.Sub(st.heardAt) >= f.interval,
	}
	// From this moment on: a message that took long to decode must not use up the time for the answer.
	if err := st.conn.Conn().SetWriteDeadline(time.Now().Add(st.config.WALSenderTimeout)); err != nil {
		return fmt.Errorf("send a status update: %w", err)
	}
	if err := pglogrepl.SendStandbyStatusUpdate(ctx, st.conn, update); err != nil {
		return fmt.Errorf("send a status update: %w", err)
	}
	f.sent, f.sentAt, f.replyOwed = position, now, false
	return nil
}

// nextReport is when report has something to do, if nothing happens before.
func (st *stream) nextStatus() time.Time {
	if st.status.replyOwed || st.source.acknowledged.Load() || st.acknowledgeable() != st.status.sent {
		return st.status.sentAt.Add(minStatusInterval)
	}
	return st.status.sentAt.Add(st.status.interval)
}

// shutdownWatch notices a server that is shutting down: it asks for a reply again and again, until the reply says that
// everything up to the end of its log is durable, and does not end before.
type shutdownDetector struct {
	walEnd   pglogrepl.LSN
	since time.Time
	requests int
}

// asked takes one request for a reply, and reports whether they mean a shutdown: more than three within a second for the
// same end of the log.
func (w *shutdownDetector) replyRequested(end pglogrepl.LSN, now time.Time) bool {
	if end != w.walEnd || now.Sub(w.since) > time.Second {
		*w = shutdownDetector{walEnd: end, since: now}
	}
	w.requests++
	return w.requests > 3
}
