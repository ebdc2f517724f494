package cdc

import (
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// Mark is evidence of the history that a consumer has read. A server whose disk was put back to an earlier state has the same
// identity, timeline and slot, and after enough writes a WAL that is longer than what was read: only its content shows that.
type Mark struct {
	// Commit, XID and Time are those of the last transaction of the mapped tables. XID is 0 if there is none.
	Commit LSN
	XID    uint32
	Time   time.Time
	// Floor: what was committed before it is known by a snapshot, not transaction by transaction.
	Floor LSN
}

func (m Mark) String() string {
	return fmt.Sprintf("transaction %d, committed at %s at position %s", m.XID, m.Time.Format(time.RFC3339Nano), m.Commit)
}

// Mark is the transaction as evidence that it was read.
func (t *Transaction) Mark() *Mark { return &Mark{Commit: t.Commit, XID: t.XID, Time: t.Time} }

// evidence checks, before anything is handed over or acknowledged, that the server sends the WAL that the consumer has read: from the
// last transaction of the mapped tables to the stored position, which is read once more. What comes before the slot's confirmed
// position needs no check, as only a server that had it could confirm it.
type historyCheck struct {
	mark Mark
	from LSN // the stored position
	// confirmed is the slot's, which is acknowledged again until the history is proven: the stored position would let a restored server
	// forget what proves that it is not the one that was read.
	confirmed LSN
	// expected: the mark's transaction must come, as the slot has not confirmed it.
	markPending bool
	done     bool
}

// newEvidence returns nil if there is nothing to check.
func newHistoryCheck(mark Mark, confirmed, from LSN) *historyCheck {
	if confirmed >= from || mark.XID == 0 && mark.Floor == 0 {
		return nil
	}
	return &historyCheck{mark: mark, from: from, confirmed: confirmed, markPending: mark.XID != 0 && mark.Commit < from && confirmed <= mark.Commit}
}

func (h *historyCheck) pending() bool { return h != nil && !h.done }

// start is where the stream has to begin.
func (h *historyCheck) startAt(from LSN) LSN {
	switch {
	case h == nil:
		return from
	case h.mark.XID != 0:
		return min(from, h.mark.Commit)
	}
	return min(from, h.mark.Floor)
}

// begin takes the beginning of a transaction.
func (h *historyCheck) begin(m *pglogrepl.BeginMessage) error {
	if !h.pending() {
		return nil
	}
	commit := LSN(m.FinalLSN)
	if h.markPending && commit >= h.mark.Commit {
		if commit != h.mark.Commit || m.Xid != h.mark.XID || !m.CommitTime.UTC().Equal(h.mark.Time.UTC()) {
			return h.mismatch()
		}
		h.markPending = false
	}
	h.done = commit >= h.from
	return nil
}

// touched takes a change of a mapped table in a transaction that commits there.
func (h *historyCheck) mappedChange(commit LSN) error {
	if !h.pending() || commit <= h.mark.Commit || commit < h.mark.Floor {
		return nil
	}
	return &PositionError{Mismatch: OtherHistory, Text: fmt.Sprintf(
		"the server's WAL has a transaction at %s, before the stored position %s, that was not there when it was read: an older state of the server was restored and written to", commit, h.from)}
}

// reached: all that committed before a position has come.
func (h *historyCheck) reached(position LSN) error {
	if !h.pending() {
		return nil
	}
	if h.markPending && position > h.mark.Commit {
		return h.mismatch()
	}
	h.done = position >= h.from
	return nil
}

func (h *historyCheck) mismatch() error {
	return &PositionError{Mismatch: OtherHistory, Text: fmt.Sprintf(
		"the server's WAL no longer has %s: an older state of the server was restored and written to", h.mark)}
}
