package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Server is what the relay must know of a server before it reads from it.
type Server struct {
	Version    int // server_version_num, such as 150018
	SystemID   string
	Timeline   int
	Database   string
	WALLevel   string
	Current    LSN // the end of the log; on a standby, of what it has replayed
	InRecovery bool
}

const inspectServer = `
SELECT current_setting('server_version_num')::int, current_setting('wal_level'), current_database(), in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()),
       CASE WHEN in_recovery THEN (SELECT timeline_id FROM pg_control_checkpoint())
            -- The control file learns of a promotion only at the next checkpoint.
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
       (CASE WHEN in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text
FROM pg_is_in_recovery() AS in_recovery`

// Inspect asks the server for its facts.
func Inspect(ctx context.Context, conn *pgx.Conn) (Server, error) {
	var s Server
	var current string
	err := conn.QueryRow(ctx, inspectServer).Scan(&s.Version, &s.WALLevel, &s.Database, &s.InRecovery, &s.SystemID, &s.Timeline, &current)
	if err != nil {
		return Server{}, fmt.Errorf("inspect the server: %w", err)
	}
	if s.Current, err = ParseLSN(current); err != nil {
		return Server{}, fmt.Errorf("inspect the server: %w", err)
	}
	return s, nil
}

// Position is how far the relay has come, and in which log.
type Position struct {
	SystemID string
	Timeline int
	Database string
	Slot     string
	LSN      LSN // the end of the last durable transaction
}

// Mismatch says in which way a stored Position and the server do not go together.
type Mismatch string

const (
	OtherSystem   Mismatch = "system"
	OtherTimeline Mismatch = "timeline"
	OtherDatabase Mismatch = "database"
	OtherSlot     Mismatch = "slot"
	SlotGone      Mismatch = "slot missing"
	SlotForeign   Mismatch = "slot foreign"  // another plugin's, or of another database
	SlotUnusable  Mismatch = "slot lost"     // the server removed log that it needed
	SlotAhead     Mismatch = "slot ahead"    // confirmed past the stored position
	ServerBehind  Mismatch = "server behind" // the log ends before the stored position
	OtherHistory  Mismatch = "history"       // the WAL before the stored position is not what was read
)

// PositionError says why the stream cannot go on where it stopped.
type PositionError struct {
	Mismatch Mismatch
	Text     string // what was found and what to do
}

// Healable reports whether a comparison of the tables with what is known of them tells what the log no longer does. What
// looks like a mistake in the configuration is not healed, and what somebody else has made is left alone.
func (e *PositionError) Healable() bool {
	switch e.Mismatch {
	case OtherDatabase, OtherSlot, SlotForeign:
		return false
	}
	return true
}

func (e *PositionError) Error() string { return "cannot go on from the stored position: " + e.Text }

// Is lets a PositionError about the slot match ErrSlotMissing and ErrSlotLost.
func (e *PositionError) Is(target error) bool {
	return target == ErrSlotMissing && e.Mismatch == SlotGone || target == ErrSlotLost && e.Mismatch == SlotUnusable
}

// CheckPosition refuses to stream from anywhere but the log and slot that the stored position belongs to. The server
// checks none of it: a position from elsewhere would silently skip transactions or be acknowledged for ones never seen.
// The error is a *PositionError.
func CheckPosition(server Server, slot SlotStatus, stored Position) error {
	differ := func(m Mismatch, format string, args ...any) error {
		return &PositionError{Mismatch: m, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case server.SystemID != stored.SystemID:
		return differ(OtherSystem, "it is of system %s, the server is system %s: another server, or one made anew from a dump or an upgrade", stored.SystemID, server.SystemID)
	case server.Database != stored.Database:
		return differ(OtherDatabase, "it is of database %s, the connection is to %s; correct the URL", stored.Database, server.Database)
	case slot.Name != stored.Slot:
		return differ(OtherSlot, "it is of slot %s, the configuration says %s; correct the configuration, or, to leave the old slot for good, run iam-relay teardown with it first", stored.Slot, slot.Name)
	case server.Timeline != stored.Timeline:
		return differ(OtherTimeline, "it is on timeline %d, the server is on %d: a standby was promoted or a backup restored", stored.Timeline, server.Timeline)
	case !slot.Exists:
		return differ(SlotGone, "slot %s is gone, and with it what was committed meanwhile", slot.Name)
	case slot.Plugin != outputPlugin || slot.Database != stored.Database:
		return differ(SlotForeign, "slot %s is of plugin %s and database %q, not of %s and %q; somebody else has made it: choose another slot name", slot.Name, slot.Plugin, slot.Database, outputPlugin, stored.Database)
	case slot.Lost():
		return differ(SlotUnusable, "slot %s is lost (%s): the server has removed log that was not yet read", slot.Name, slot.lossReason())
	case slot.Confirmed > stored.LSN:
		return differ(SlotAhead, "slot %s has moved to %s, past the stored %s: somebody else has read from it, advanced it or made it anew", slot.Name, slot.Confirmed, stored.LSN)
	case stored.LSN > server.Current:
		return differ(ServerBehind, "it is %s, but the server's log ends at %s: an older state of the server was restored", stored.LSN, server.Current)
	}
	return nil
}
