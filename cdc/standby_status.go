package cdc

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// minStatusInterval is the minimum interval between two status updates, except for a Ping. A server that shuts down answers
// each of them at once, and under load every commit to the outbox acknowledges a position.
const minStatusInterval = 100 * time.Millisecond

// standbyStatus is the last status update, and when the next one is due.
// https://www.postgresql.org/docs/current/protocol-replication.html
type standbyStatus struct {
	interval  time.Duration // the longest silence: a third of wal_sender_timeout; the server requests a reply at half of it
	sent      LSN
	sentAt    time.Time
	replyOwed bool // the server requested a reply
}

// acknowledgeable returns the position to confirm: what the consumer acknowledged, but never more than was handed over on this
// connection, and nothing new before the history check has passed. The server accepts any position, and removes the WAL before
// it.
func (st *stream) acknowledgeable() LSN {
	position := min(LSN(st.source.durable.Load()), st.handedOver)
	if e := st.decoder.history; e.pending() {
		return min(position, e.confirmed)
	}
	return position
}

// sendStatus sends a status update if one is due.
func (st *stream) sendStatus(ctx context.Context, now time.Time) error {
	f := &st.status
	since := now.Sub(f.sentAt)
	ping := st.source.pinged.Load() && st.source.pinged.Swap(false)
	if since >= minStatusInterval && st.source.acknowledged.Load() {
		st.source.acknowledged.Store(false) // before reading the position, so that no later one is missed
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
	// All three positions are set, because the server replaces a zero flush position by the write position.
	update := pglogrepl.StandbyStatusUpdate{
		WALWritePosition: pglogrepl.LSN(position), WALFlushPosition: pglogrepl.LSN(position), WALApplyPosition: pglogrepl.LSN(position),
		ReplyRequested: ping || now.Sub(st.heardAt) >= f.interval,
	}
	// Counted from now instead of from the caller's time: a message that took long to decode must not shorten the timeout.
	if err := st.conn.Conn().SetWriteDeadline(time.Now().Add(st.config.WALSenderTimeout)); err != nil {
		return fmt.Errorf("send a status update: %w", err)
	}
	if err := pglogrepl.SendStandbyStatusUpdate(ctx, st.conn, update); err != nil {
		return fmt.Errorf("send a status update: %w", err)
	}
	f.sent, f.sentAt, f.replyOwed = position, now, false
	return nil
}

// nextStatus returns when sendStatus is due if nothing happens before.
func (st *stream) nextStatus() time.Time {
	if st.status.replyOwed || st.source.acknowledged.Load() || st.acknowledgeable() != st.status.sent {
		return st.status.sentAt.Add(minStatusInterval)
	}
	return st.status.sentAt.Add(st.status.interval)
}

// shutdownDetector recognizes a server that is shutting down: it requests replies repeatedly, until a reply confirms everything
// up to the end of its WAL, and does not stop before.
type shutdownDetector struct {
	walEnd   pglogrepl.LSN
	since    time.Time
	requests int
}

// replyRequested counts one request, and reports whether the server is shutting down: more than three requests within a second
// for the same end of the WAL.
func (d *shutdownDetector) replyRequested(end pglogrepl.LSN, now time.Time) bool {
	if end != d.walEnd || now.Sub(d.since) > time.Second {
		*d = shutdownDetector{walEnd: end, since: now}
	}
	d.requests++
	return d.requests > 3
}
