package cdc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"

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
	// Invalidation is why the slot was invalidated; empty if it was not, and before PostgreSQL 17.
	Invalidation string
	// Failover slots (PostgreSQL 17 and newer) are kept on standbys as well.
	Failover bool
	// Confirmed is the last acknowledgement; Restart is where decoding would start, 0 if that is gone.
	Confirmed, Restart LSN
	// RetainedBytes is the log kept for the slot, LagBytes what is not acknowledged. An open transaction can hold the
	// first up while the second is nothing. -1: unknown.
	RetainedBytes, LagBytes int64
	// SafeWALSize is how many bytes may still be written before the slot can be lost; -1: unknown or unlimited.
	SafeWALSize int64
}

// Lost reports whether the slot can never be read from again.
func (s SlotStatus) Lost() bool { return s.WALStatus == "lost" || s.Invalidation != "" }

// Readable reports whether the slot is one that a Source of the database could read from, or could have before it was lost.
func (s SlotStatus) Readable(database string) bool {
	return s.Exists && !s.Temporary && s.Plugin == outputPlugin && s.Database == database
}

func (s SlotStatus) lossReason() string { return cmp.Or(s.Invalidation, s.WALStatus) }

// Columns that only newer versions have are read by way of JSON.
const slotStatus = `
SELECT s.active, coalesce(s.active_pid, 0), s.temporary, coalesce(s.plugin, ''), coalesce(s.database, ''), coalesce(s.wal_status, 'lost'),
       coalesce(to_jsonb(s)->>'invalidation_reason', ''), coalesce((to_jsonb(s)->>'failover')::bool, false),
       coalesce(s.confirmed_flush_lsn, '0/0')::text, coalesce(s.restart_lsn, '0/0')::text,
       coalesce(pg_wal_lsn_diff(wal_end, s.restart_lsn), -1)::bigint, coalesce(pg_wal_lsn_diff(wal_end, s.confirmed_flush_lsn), -1)::bigint,
       coalesce(s.safe_wal_size, -1)
FROM pg_replication_slots s,
     LATERAL (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END) AS server (wal_end)
WHERE s.slot_name = $1`

// Slot reads a slot's state. A slot that does not exist is no error.
func Slot(ctx context.Context, conn *pgx.Conn, name string) (SlotStatus, error) {
	s := SlotStatus{Name: name, Exists: true}
	var confirmed, restart string
	err := conn.QueryRow(ctx, slotStatus, name).Scan(&s.Active, &s.ActivePID, &s.Temporary, &s.Plugin, &s.Database, &s.WALStatus,
		&s.Invalidation, &s.Failover, &confirmed, &restart, &s.RetainedBytes, &s.LagBytes, &s.SafeWALSize)
	if errors.Is(err, pgx.ErrNoRows) {
		return SlotStatus{Name: name, RetainedBytes: -1, LagBytes: -1, SafeWALSize: -1}, nil
	}
	if err != nil {
		return SlotStatus{}, fmt.Errorf("read the state of slot %s: %w", name, err)
	}
	if s.Confirmed, err = ParseLSN(confirmed); err == nil {
		s.Restart, err = ParseLSN(restart)
	}
	if err != nil {
		return SlotStatus{}, fmt.Errorf("read the state of slot %s: %w", name, err)
	}
	return s, nil
}

// DropSlot drops a slot; one that is missing is dropped already. A slot in use gives ErrSlotActive.
func DropSlot(ctx context.Context, conn *pgx.Conn, name string) error {
	if _, err := conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1`, name); err != nil {
		return fmt.Errorf("drop slot %s: %w", name, explain(err, ErrSlotMissing))
	}
	return nil
}

// EndStream ends the session that streams from a slot, and reports whether it could: that needs to be the same role, or a
// member of pg_signal_backend. The slot is free a moment later.
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

// slotNames are the names that PostgreSQL allows.
var slotNames = regexp.MustCompile(`^[a-z0-9_]{1,63}$`)

// CheckSlotName says what is wrong with a slot's name, or nil.
func CheckSlotName(name string) error {
	if !slotNames.MatchString(name) {
		return fmt.Errorf("slot name %q: it must have 1 to 63 lower-case letters, digits and underscores", name)
	}
	return nil
}
