package monitor

import (
	"fmt"
	"log/slog"
	"math/bits"

	"github.com/iam-relay/iam-relay/cdc"
)

// retention warns of the log that a slot makes its server keep, long before the disk is full or the slot is lost. Each step is
// told once; those before it are told again only after all has been well, by a margin, and that is told too.
type walRetention struct {
	log       *slog.Logger
	threshold int64 // where the server keeps log without a limit
	warned    int
	idle      bool // that the slot is about to be lost for want of a reader was told
}

const (
	stepHalf = 1 + iota
	stepQuarter
	stepTenth
	// stepLost is beyond any number of doublings.
	stepLost = 1000
)

// step is how far it has come; 0 is well. With a limit a step is a share of it that is left; without one, a doubling.
func (r *walRetention) step(s cdc.SlotStatus) int {
	switch {
	case !s.Exists:
		return 0 // a missing slot is its own alarm
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

// over reports whether all is well with a margin, so that what sways around a step is not told again and again.
func (r *walRetention) over(s cdc.SlotStatus) bool {
	if s.KeepLimit < 0 {
		return s.RetainedBytes < r.threshold/4*3
	}
	return s.WALStatus == "reserved" && s.SafeWALSize > s.KeepLimit/5*3
}

// observe tells what is news. why is asked for only then.
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
	case r.warned > 0 && s.Exists && step == 0 && r.over(s):
		r.log.Info("WAL retained by the slot is back to normal", attrs...)
		r.warned = 0
	}
	r.observeIdle(s)
}

func (r *walRetention) observeIdle(s cdc.SlotStatus) {
	nears := s.IdleLimit > 0 && s.Idle > s.IdleLimit/2
	if nears && !r.idle {
		r.log.Warn("no relay reads from the slot, and the server invalidates it after idle_replication_slot_timeout; start a relay or raise that setting",
			"slot", s.Name, "idle", s.Idle.String(), "idle_replication_slot_timeout", s.IdleLimit.String())
	}
	r.idle = nears
}

// WhyKept says which of the causes it is that the server keeps log for a slot, and what to do. stuck is what a commit of the
// outbox waits for, holder the oldest open transaction; either may be nothing.
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
