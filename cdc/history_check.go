package cdc

import (
	"fmt"
	"time"

	"github.com/jackc/pglogrepl"
)

// HistoryMark identifies the last transaction that a consumer has read, as evidence of the server's history. A server that was
// restored to an earlier state has the same system identifier, timeline and slot, and after enough writes its WAL is longer
// than what was read: only the contents of the WAL differ.
type HistoryMark struct {
	// Commit, XID and Time belong to the last transaction that changed mapped tables. XID is 0 if there is none.
	Commit LSN
	XID    uint32
	Time   time.Time
	// Floor: transactions that committed before it are covered by a snapshot and were not read one by one.
	Floor LSN
}

func (m HistoryMark) String() string {
	return fmt.Sprintf("transaction %d, committed at %s at position %s", m.XID, m.Time.Format(time.RFC3339Nano), m.Commit)
}

// Mark returns what identifies the transaction as the last one that was read.
func (t *Transaction) Mark() *HistoryMark {
	return &HistoryMark{Commit: t.Commit, XID: t.XID, Time: t.Time}
}

// historyCheck verifies, before anything is handed over or acknowledged, that the server sends the same WAL that the consumer
// has read. For that, the WAL from the last transaction of the mapped tables to the stored position is read again. WAL before
// the slot's confirmed position needs no check: only a server that had it could confirm it.
type historyCheck struct {
	mark HistoryMark
	from LSN // the stored position
	// confirmed is the slot's confirmed position. It is acknowledged until the check is done: acknowledging the stored position
	// would let a restored server remove the WAL that proves the difference.
	confirmed LSN
	// markPending: the transaction of mark must still come, because the slot has not confirmed it.
	markPending bool
	done        bool
}

// newHistoryCheck returns nil if there is nothing to check.
func newHistoryCheck(mark HistoryMark, confirmed, from LSN) *historyCheck {
	if confirmed >= from || mark.XID == 0 && mark.Floor == 0 {
		return nil
	}
	return &historyCheck{mark: mark, from: from, confirmed: confirmed, markPending: mark.XID != 0 && mark.Commit < from && confirmed <= mark.Commit}
}

func (h *historyCheck) pending() bool { return h != nil && !h.done }

// startAt returns the position from which the check has to stream.
func (h *historyCheck) startAt(from LSN) LSN {
	switch {
	case h == nil:
		return from
	case h.mark.XID != 0:
		return min(from, h.mark.Commit)
	}
	return min(from, h.mark.Floor)
}

// begin handles the start of a transaction.
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

// mappedChange handles a change of a mapped table in a transaction with the commit position.
func (h *historyCheck) mappedChange(commit LSN) error {
	if !h.pending() || commit <= h.mark.Commit || commit < h.mark.Floor {
		return nil
	}
	return &PositionError{Mismatch: OtherHistory, Text: fmt.Sprintf(
		"the server's WAL has a transaction at %s, before the stored position %s, that did not exist when the WAL was read: an earlier state of the server was restored and then written to", commit, h.from)}
}

// reached is called once everything that committed before the position has been received.
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
		"the server's WAL no longer has %s: an earlier state of the server was restored and then written to", h.mark)}
}
