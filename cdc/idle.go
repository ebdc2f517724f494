package cdc

import "time"

// idleState tracks the position before which nothing is pending.
type idleState struct {
	position LSN // the newest such position
	sent     LSN // the last one sent to the consumer
	sentAt   time.Time
	// pingPending: a Ping was sent to the server. forced: its reply has come, and the position is sent even if it is not new.
	pingPending, forced bool
}

// due reports whether the consumer has to be notified.
func (i *idleState) due() bool { return i.position > i.sent || i.forced && i.position > 0 }

// sendIdle notifies the consumer that nothing is pending, if that is new and out has room.
func (st *stream) sendIdle(now time.Time) {
	i := &st.idle
	if !i.due() || st.decoder.inTransaction() || st.decoder.history.pending() || (!i.forced && now.Sub(i.sentAt) < minStatusInterval) {
		return
	}
	position := max(i.position, i.sent)
	i.sentAt = now
	select {
	case st.out <- Message{Idle: position, Mark: st.decoder.mark}:
		i.sent, i.forced = position, false
		st.handedOver = max(st.handedOver, position)
	default:
	}
}
