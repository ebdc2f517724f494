package cdc

import "fmt"

// Position is how far the relay has read, and in which WAL.
type Position struct {
	SystemID string
	Timeline int
	Database string
	Slot     string
	LSN      LSN // end of the last durable transaction
}

// Mismatch is the reason why a stored Position does not fit the server.
type Mismatch string

// The reasons.
const (
	OtherSystem   Mismatch = "system"
	OtherTimeline Mismatch = "timeline"
	OtherDatabase Mismatch = "database"
	OtherSlot     Mismatch = "slot"
	SlotMissing   Mismatch = "slot missing"
	SlotForeign   Mismatch = "slot foreign"  // has another plugin or is in another database
	SlotLost      Mismatch = "slot lost"     // the server removed WAL that it needed
	SlotAhead     Mismatch = "slot ahead"    // its confirmed position is past the stored one
	ServerBehind  Mismatch = "server behind" // the WAL ends before the stored position
	OtherHistory  Mismatch = "history"       // the WAL before the stored position is not the WAL that was read
)

// PositionError reports why replication cannot resume from the stored position.
type PositionError struct {
	Mismatch Mismatch
	Text     string // what was found and how to fix it
}

// Reconcilable reports whether a reconciliation can replace the WAL that is missing. It is false for likely mistakes in the
// configuration and for slots of other programs.
func (e *PositionError) Reconcilable() bool {
	switch e.Mismatch {
	case OtherDatabase, OtherSlot, SlotForeign:
		return false
	}
	return true
}

func (e *PositionError) Error() string { return "cannot resume from the stored position: " + e.Text }

// Is lets a PositionError about the slot match ErrSlotMissing and ErrSlotLost.
func (e *PositionError) Is(target error) bool {
	return target == ErrSlotMissing && e.Mismatch == SlotMissing || target == ErrSlotLost && e.Mismatch == SlotLost
}

// CheckPosition verifies that the stored position belongs to this server's WAL and to this slot. The server verifies none of
// it: a position from elsewhere would silently skip transactions, or acknowledge some that were never read. The error is a
// *PositionError.
func CheckPosition(server Server, slot SlotStatus, stored Position) error {
	mismatch := func(m Mismatch, format string, args ...any) error {
		return &PositionError{Mismatch: m, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case server.SystemID != stored.SystemID:
		return mismatch(OtherSystem, "it belongs to system %s, the server is system %s: it is a different server, or was recreated from a dump or an upgrade", stored.SystemID, server.SystemID)
	case server.Database != stored.Database:
		return mismatch(OtherDatabase, "it belongs to database %s, the connection is to %s; correct the URL", stored.Database, server.Database)
	case slot.Name != stored.Slot:
		return mismatch(OtherSlot, "it belongs to slot %s, the configuration names %s; correct source.slot, or run iam-relay teardown with the old slot first if it is no longer used", stored.Slot, slot.Name)
	case server.Timeline != stored.Timeline:
		return mismatch(OtherTimeline, "it is on timeline %d, the server is on timeline %d: a standby was promoted or a backup restored", stored.Timeline, server.Timeline)
	case !slot.Exists:
		return mismatch(SlotMissing, "slot %s does not exist any more, and the changes since then are in no slot", slot.Name)
	case slot.Plugin != outputPlugin || slot.Database != stored.Database:
		return mismatch(SlotForeign, "slot %s has plugin %s and database %q instead of %s and %q: it belongs to another program; choose another source.slot", slot.Name, slot.Plugin, slot.Database, outputPlugin, stored.Database)
	case slot.Lost():
		return mismatch(SlotLost, "slot %s is lost (%s): the server removed WAL that was not read yet", slot.Name, slot.lossReason())
	case slot.Confirmed > stored.LSN:
		return mismatch(SlotAhead, "slot %s is at %s, past the stored position %s: another program has read from it, advanced it or recreated it", slot.Name, slot.Confirmed, stored.LSN)
	case stored.LSN > server.Current:
		return mismatch(ServerBehind, "it is %s, but the server's WAL ends at %s: an earlier state of the server was restored", stored.LSN, server.Current)
	}
	return nil
}
