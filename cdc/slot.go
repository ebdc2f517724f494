package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const outputPlugin = "pgoutput"

// SlotStatus is the state of a replication slot.
// https://www.postgresql.org/docs/current/view-pg-replication-slots.html
type SlotStatus struct {
	Name      string
	Exists    bool
	Active    bool
	ActivePID int // 0 if not active
	Temporary bool
	Plugin    string
	Database  string
	// WALStatus is reserved, extended, unreserved or lost.
	WALStatus string
	// Invalidation is why the slot was invalidated. It is empty for a valid slot and before PostgreSQL 17.
	Invalidation string
	// Failover slots (PostgreSQL 17 and newer) are synchronized to standbys.
	Failover bool
	// Confirmed is the last acknowledged position. Restart is where decoding would start; 0 if that WAL is removed.
	Confirmed, Restart LSN
	// RetainedBytes is the size of the WAL retained by the slot, LagBytes the size of the unacknowledged part. An open
	// transaction can keep the first large while the second is 0. -1 is unknown.
	RetainedBytes, LagBytes int64
	// SafeWALSize is how many bytes can still be written before the slot may be lost; -1 is unknown or unlimited.
	SafeWALSize int64
	// KeepLimit is max_slot_wal_keep_size in bytes, the most that a slot may retain; -1 is unlimited.
	KeepLimit int64
	// IdleLimit is idle_replication_slot_timeout (PostgreSQL 18 and newer); 0 is never. Idle is how long the slot has been inactive
	// (17 and newer); 0 if it is active or unknown.
	IdleLimit, Idle time.Duration
}

// Lost reports whether the slot can never be read again.
func (s SlotStatus) Lost() bool { return s.WALStatus == "lost" || s.Invalidation != "" }

// Readable reports whether a Source can read the slot from the database, or could before the slot was lost.
func (s SlotStatus) Readable(database string) bool {
	return s.Exists && !s.Temporary && s.Plugin == outputPlugin && s.Database == database
}

func (s SlotStatus) lossReason() string { return cmp.Or(s.Invalidation, s.WALStatus) }

// HeadroomBelow reports whether less than 1/parts of the WAL that the server may retain for the slot is left.
func (s SlotStatus) HeadroomBelow(parts int64) bool {
	return s.KeepLimit > 0 && s.SafeWALSize >= 0 && s.SafeWALSize < s.KeepLimit/parts
}

// BelongsToOther reports whether the slot has another plugin or another database, and so belongs to another program.
func (s SlotStatus) BelongsToOther(database string) bool {
	return s.Exists && (s.Plugin != outputPlugin || s.Database != database)
}

// Columns of newer versions are read as JSON, which gives NULL where they do not exist.
const slotStatus = `
SELECT s.active, coalesce(s.active_pid, 0), s.temporary, coalesce(s.plugin, ''), coalesce(s.database, ''), coalesce(s.wal_status, 'lost'),
       coalesce(to_jsonb(s)->>'invalidation_reason', ''), coalesce((to_jsonb(s)->>'failover')::bool, false),
       coalesce(s.confirmed_flush_lsn, '0/0')::text, coalesce(s.restart_lsn, '0/0')::text,
       coalesce(pg_wal_lsn_diff(wal_end, s.restart_lsn), -1)::bigint, coalesce(pg_wal_lsn_diff(wal_end, s.confirmed_flush_lsn), -1)::bigint,
       CASE WHEN s.safe_wal_size < 0 THEN 0 ELSE coalesce(s.safe_wal_size, -1) END,
       (SELECT CASE WHEN setting::bigint < 0 THEN -1 ELSE setting::bigint << 20 END FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
       coalesce((SELECT setting::bigint * CASE unit WHEN 'min' THEN 60 WHEN 'ms' THEN 0.001 ELSE 1 END
           FROM pg_settings WHERE name = 'idle_replication_slot_timeout'), 0)::bigint,
       coalesce(extract(epoch FROM now() - (to_jsonb(s)->>'inactive_since')::timestamptz), 0)::bigint
FROM pg_replication_slots s,
     LATERAL (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) AS server (wal_end)
WHERE s.slot_name = $1`

// Slot reads the state of a slot. If the slot does not exist, Exists is false and the error is nil.
func Slot(ctx context.Context, conn *pgx.Conn, name string) (SlotStatus, error) {
	s := SlotStatus{Name: name, Exists: true}
	var confirmed, restart string
	var idleLimit, idle int64
	err := conn.QueryRow(ctx, slotStatus, name).Scan(&s.Active, &s.ActivePID, &s.Temporary, &s.Plugin, &s.Database, &s.WALStatus,
		&s.Invalidation, &s.Failover, &confirmed, &restart, &s.RetainedBytes, &s.LagBytes, &s.SafeWALSize,
		&s.KeepLimit, &idleLimit, &idle)
	if errors.Is(err, pgx.ErrNoRows) {
		return SlotStatus{Name: name, RetainedBytes: -1, LagBytes: -1, SafeWALSize: -1, KeepLimit: -1}, nil
	}
	if err != nil {
		return SlotStatus{}, fmt.Errorf("read the state of slot %s: %w", name, err)
	}
	s.IdleLimit, s.Idle = time.Duration(idleLimit)*time.Second, time.Duration(idle)*time.Second
	if s.Confirmed, err = ParseLSN(confirmed); err == nil {
		s.Restart, err = ParseLSN(restart)
	}
	if err != nil {
		return SlotStatus{}, fmt.Errorf("read the state of slot %s: %w", name, err)
	}
	return s, nil
}

// DropSlot drops a slot; a missing slot is not an error. The error is ErrSlotActive if the slot is in use, and ErrSlotForeign
// if its plugin or database shows that it belongs to another program, in which case it is not dropped.
func DropSlot(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
		WHERE slot_name = $1 AND plugin = $2 AND database = current_database() AND NOT temporary`, name, outputPlugin)
	if err != nil {
		return fmt.Errorf("drop slot %s: %w", name, explain(err, ErrSlotMissing))
	}
	left, err := Slot(ctx, conn, name)
	if err != nil || !left.Exists {
		return err
	}
	return fmt.Errorf("drop slot %s: %w: it has plugin %q and database %q; choose another source.slot", name, ErrSlotForeign, left.Plugin, left.Database)
}

// EndStream ends the session that streams from a slot, and reports whether it could. That takes the same role or membership in
// pg_signal_backend. The slot becomes free shortly after.
// https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL
func EndStream(ctx context.Context, conn *pgx.Conn, slot SlotStatus) (bool, error) {
	var ended bool
	err := conn.QueryRow(ctx, `SELECT coalesce((SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1 AND active_pid = $2), false)`,
		slot.Name, slot.ActivePID).Scan(&ended)
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "42501" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end the session that streams from slot %s: %w", slot.Name, err)
	}
	return ended, nil
}

// slotNames matches the names that PostgreSQL allows.
var slotNames = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// CheckSlotName returns an error if PostgreSQL does not allow the name for a slot.
func CheckSlotName(name string) error {
	if !slotNames.MatchString(name) {
		return fmt.Errorf("invalid slot name %q; use 1 to 63 lower-case letters, digits and underscores", name)
	}
	return nil
}
