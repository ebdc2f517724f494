package monitor

import (
	"fmt"
	"log/slog"
	"math/bits"

	"github.com/iam-relay/iam-relay/cdc"
)

// walRetention warns of WAL that the slot retains, long before the disk is full or the slot is lost. Each step is logged once. It logs when
// retention is back to normal by a margin; only then are the steps logged again.
type walRetention struct {
	log        *slog.Logger
	threshold  int64 // bytes; used on a server without max_slot_wal_keep_size
	warned     int   // the last step that was logged
	idleWarned bool  // it has been logged that the slot is near idle_replication_slot_timeout
}

const (
	stepHalf = 1 + iota
	stepQuarter
	stepTenth
	// stepLost is beyond any number of doublings.
	stepLost = 1000
)

// step returns how far retention has come; 0 is normal. With max_slot_wal_keep_size a step is a share of it that is left, without it a
// doubling of the retained bytes from the threshold on.
func (r *walRetention) step(s cdc.SlotStatus) int {
	switch {
	case !s.Exists:
		return 0 // the state "lost" reports a missing slot
	case s.Lost():
		return stepLost
	case s.KeepLimit < 0:
		return bits.Len64(uint64(max(s.RetainedBytes, 0) / max(r.threshold, 1)))
	case s.WALStatus == "unreserved" || s.HeadroomBelow(10):
		return stepTenth
	case s.HeadroomBelow(4):
		return stepQuarter
	case s.WALStatus == "extended" || s.HeadroomBelow(2):
		return stepHalf
	}
	return 0
}

// recovered reports whether retention is normal by a margin, so that values around a step do not repeat the warning.
func (r *walRetention) recovered(s cdc.SlotStatus) bool {
	if s.KeepLimit < 0 {
		return s.RetainedBytes < r.threshold/4*3
	}
	return s.WALStatus == "reserved" && s.SafeWALSize > s.KeepLimit/5*3
}

// observe logs what is new. It calls why only for a warning.
func (r *walRetention) observe(s cdc.SlotStatus, why func() string) {
	attrs := []any{"slot", s.Name, "wal_status", s.WALStatus, "retained_bytes", s.RetainedBytes, "lag_bytes", s.LagBytes}
	if s.KeepLimit >= 0 {
		attrs = append(attrs, "max_slot_wal_keep_size_bytes", s.KeepLimit, "safe_bytes", s.SafeWALSize)
	}
	switch step := r.step(s); {
	case step == stepLost && r.warned < stepLost:
		r.log.Error("the slot is lost: the server removed WAL that was not read, or invalidated the slot; see \"When the slot is lost\" in docs/operations.md", append(attrs, "reason", s.Invalidation)...)
		r.warned = step
	case step > r.warned:
		attrs = append(attrs, "why", why())
		switch {
		case s.KeepLimit < 0:
			r.log.Warn("the slot retains much WAL", attrs...)
		case step < stepTenth:
			r.log.Warn("the slot is near the limit at which the server invalidates it", attrs...)
		default:
			r.log.Error("the server is about to invalidate the slot", attrs...)
		}
		r.warned = step
	case r.warned > 0 && s.Exists && step == 0 && r.recovered(s):
		r.log.Info("WAL retained by the slot is back to normal", attrs...)
		r.warned = 0
	}
	r.observeIdle(s)
}

func (r *walRetention) observeIdle(s cdc.SlotStatus) {
	near := s.IdleLimit > 0 && s.Idle > s.IdleLimit/2
	if near && !r.idleWarned {
		r.log.Warn("no relay reads from the slot, and the server invalidates it after idle_replication_slot_timeout; start a relay or raise that setting",
			"slot", s.Name, "idle", s.Idle.String(), "idle_replication_slot_timeout", s.IdleLimit.String())
	}
	r.idleWarned = near
}

// WhyRetained returns the most likely reason for which the server retains WAL for the slot, and what to do. stuck is what a commit to the
// outbox waits for, "" if it does not wait; holder is the oldest open transaction, nil if there is none or it is unknown.
func WhyRetained(s cdc.SlotStatus, stuck string, holder *cdc.WALHolder) string {
	switch {
	case stuck != "":
		return "the outbox is stuck: " + stuck
	case !s.Active:
		return "no relay reads from the slot: start one, check its connection, or remove the slot with iam-relay teardown"
	case s.LagBytes >= s.RetainedBytes/2:
		return "the relay is reading, but the outbox is slower than the IAM writes, or a large transaction is in progress: check the outbox database (iam_relay_outbox_commit_seconds), or move the outbox to a separate database (outbox.url)"
	case holder != nil:
		return fmt.Sprintf("everything is acknowledged, but %s prevents the server from removing WAL: %s", holder, holder.Fix())
	}
	return "everything is acknowledged: the server removes the WAL at its next checkpoint; on a standby, an open transaction on the primary may delay that"
}
