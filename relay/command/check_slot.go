package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

func (c *sourceCheck) slot(ctx context.Context) error {
	name := c.cfg.Source.Slot
	slot, err := cdc.Slot(ctx, c.conn, name)
	if err != nil {
		return err
	}
	state := outbox.StateNew
	if c.position != nil {
		state = c.position.State
	}
	switch {
	case state == outbox.StateStreaming:
		if slot.Active {
			if err := c.readAgain(ctx); err != nil {
				return err
			}
		}
		if err := cdc.CheckPosition(c.server, slot, c.position.Position); err != nil {
			c.lost(err)
			break
		}
		reader := "not in use"
		if slot.Active {
			reader = "in use"
		}
		c.ok("slot", "%s matches the stored position; %s; %s not acknowledged, %s of WAL retained", name, reader, size(slot.LagBytes), size(slot.RetainedBytes))
	case !slot.Exists:
		c.pending("slot", "%s does not exist yet; iam-relay run creates it at its first start", name)
	case slot.BelongsToOther(c.server.Database):
		c.fail("slot", "%s is of plugin %s and database %q: another program created it; choose another source.slot", name, slot.Plugin, slot.Database)
	case state == outbox.StateCopying && c.position.Slot == name && c.leader != 0:
		c.pending("slot", "%s belongs to a first start that is copying the tables", name)
	case state == outbox.StateCopying && c.position.Slot == name:
		c.warning("slot", "%s belongs to a first start that was interrupted, and %s of WAL are retained by it; iam-relay run starts again, iam-relay teardown drops it", name, size(slot.RetainedBytes))
	default:
		c.fail("slot", "%s exists, but this outbox has never read from it; drop it (SELECT pg_drop_replication_slot('%s')) if it is unused, or choose another source.slot", name, name)
	}
	return c.capacity(ctx, slot)
}

// lost reports a position from which the WAL cannot be read, and what iam-relay run does about it.
func (c *sourceCheck) lost(err error) {
	const compares = "compares all tables with the mirror and emits the differences"
	positionErr, ok := errors.AsType[*cdc.PositionError](err)
	switch {
	case !ok || !positionErr.Reconcilable():
		c.fail("slot", "%s", err)
	case c.cfg.Source.Reconcile == config.ReconcileAuto:
		c.warning("slot", "%s; iam-relay run %s", err, compares)
	default:
		c.fail("slot", "%s; iam-relay reconcile %s", err, compares)
	}
}

// readAgain reads the stored position after the slot, and the end of the WAL after both: a running relay has moved all three since
// they were read, and a slot ahead of the position would mean that another program reads it.
func (c *sourceCheck) readAgain(ctx context.Context) error {
	store, err := outbox.Open(string(c.cfg.OutboxURL()), c.cfg.Outbox.Schema, c.cfg.Outbox.EncryptionKeys())
	if err != nil {
		return err
	}
	defer store.Close()
	position, err := store.Position(ctx)
	if err != nil {
		return err
	}
	c.position = &position
	c.server, err = cdc.InspectServer(ctx, c.conn)
	return err
}

// capacity checks that the server has a free slot and a free WAL sender.
func (c *sourceCheck) capacity(ctx context.Context, slot cdc.SlotStatus) error {
	var slots, maxSlots, senders, maxSenders int
	err := c.conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
		(SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::int`).Scan(&slots, &maxSlots, &senders, &maxSenders)
	if err != nil {
		return fmt.Errorf("count slots and senders: %w", err)
	}
	switch free := maxSlots - slots; {
	case free < 1 && !slot.Exists:
		c.fail("slots", "all replication slots (%d) are in use; raise max_replication_slots (needs a restart) or drop an unused slot", maxSlots)
	case free < 1:
		c.warning("slots", "all replication slots (%d) are in use; the relay needs one more while it copies tables that are new in the mapping; raise max_replication_slots", maxSlots)
	default:
		c.ok("slots", "%d of %d free", free, maxSlots)
	}
	if free := maxSenders - senders; free < 1 && !slot.Active {
		c.fail("senders", "all WAL senders (%d) are in use; raise max_wal_senders (needs a restart)", maxSenders)
	} else {
		c.ok("senders", "%d of %d free", free, maxSenders)
	}
	return nil
}

// size is a number of bytes as text; negative is unknown.
func size(bytes int64) string {
	if bytes < 0 {
		return "an unknown amount"
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
