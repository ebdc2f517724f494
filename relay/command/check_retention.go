package command

import (
	"context"
	"fmt"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/monitor"
)

// leastIdle is how long a relay may well be stopped.
const leastIdle = time.Hour

// retention checks the limits of the server for a slot that is not read, and how close the slot is to them.
func (c *sourceCheck) retention(ctx context.Context) error {
	var keepMB, idleSeconds, segmentsMB int64
	err := c.conn.QueryRow(ctx, `SELECT (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size'),
		coalesce((SELECT setting::bigint * CASE unit WHEN 'min' THEN 60 WHEN 'ms' THEN 0.001 ELSE 1 END
			FROM pg_settings WHERE name = 'idle_replication_slot_timeout'), 0)::bigint,
		(SELECT setting::bigint FROM pg_settings WHERE name = 'max_wal_size')`).Scan(&keepMB, &idleSeconds, &segmentsMB)
	if err != nil {
		return fmt.Errorf("read the server's settings: %w", err)
	}
	switch {
	case keepMB < 0:
		c.warning("retention", "max_slot_wal_keep_size is unlimited: while no relay runs, retained WAL may fill the disk; set it to the disk space that can be spared, and alert on the retained WAL")
	case keepMB < segmentsMB: // what the server may write between two checkpoints
		c.warning("retention", "max_slot_wal_keep_size is %s, less than max_wal_size (%s): a burst of writes while no relay runs invalidates the slot; raise it to the disk space that can be spared", size(keepMB<<20), size(segmentsMB<<20))
	default:
		c.ok("retention", "the server keeps up to %s of WAL while no relay runs", size(keepMB<<20))
	}
	if idle := time.Duration(idleSeconds) * time.Second; idle > 0 && idle < leastIdle {
		c.warning("retention", "idle_replication_slot_timeout is %s: a relay that is stopped for longer loses its slot; raise it", idle)
	}
	slot, err := cdc.Slot(ctx, c.conn, c.cfg.Source.Slot)
	if err != nil || !slot.Exists || slot.BelongsToOther(c.server.Database) {
		return err
	}
	if err := c.retained(ctx, slot); err != nil {
		return err
	}
	return c.failover(ctx, slot)
}

// retained warns of a slot that is about to be lost, or to fill the disk.
func (c *sourceCheck) retained(ctx context.Context, slot cdc.SlotStatus) error {
	if slot.Lost() {
		return nil // reported already
	}
	near := slot.HeadroomBelow(2)
	if !near && (slot.KeepLimit >= 0 || slot.RetainedBytes < c.cfg.Source.RetainedWarning.Bytes) {
		return nil
	}
	holder, err := cdc.OldestWALHolder(ctx, c.conn)
	if err != nil {
		return err
	}
	why := monitor.WhyRetained(slot, c.stuck, holder)
	if near {
		c.warning("retention", "the server invalidates slot %[2]s after another %[1]s of WAL: %[3]s", size(slot.SafeWALSize), slot.Name, why)
	} else {
		c.warning("retention", "%s of WAL are retained by slot %s: %s", size(slot.RetainedBytes), slot.Name, why)
	}
	return nil
}

// failover checks whether the slot survives a failover, from PostgreSQL 17 on, if the server has a standby or is one.
// https://www.postgresql.org/docs/current/logical-replication-failover.html
func (c *sourceCheck) failover(ctx context.Context, slot cdc.SlotStatus) error {
	if c.server.Version < 170000 {
		return nil
	}
	var synced, standbys string
	var physical int
	err := c.conn.QueryRow(ctx, `SELECT current_setting('sync_replication_slots'), current_setting('synchronized_standby_slots'),
		(SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical')`).Scan(&synced, &standbys, &physical)
	switch {
	case err != nil:
		return fmt.Errorf("read the server's settings: %w", err)
	case c.server.InRecovery && synced != "on":
		c.warning("failover", "sync_replication_slots is off on this standby: the slots of the primary are not copied to it; set it to on")
	case c.server.InRecovery || physical == 0:
	case !slot.Failover:
		c.warning("failover", "slot %s is not a failover slot and is lost when a standby is promoted; on a replication connection, run: ALTER_REPLICATION_SLOT %s (FAILOVER true)", slot.Name, slot.Name)
	case standbys == "":
		c.warning("failover", "synchronized_standby_slots is empty: the relay may read changes that the standby does not have yet, and be ahead of it after a promotion; add the standby's slot to it")
	default:
		c.ok("failover", "slot %s is copied to the standbys that synchronize slots", slot.Name)
	}
	return nil
}
