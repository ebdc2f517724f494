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
			if err := c.askAgain(ctx); err != nil {
				return err
			}
		}
		if err := cdc.CheckPosition(c.server, slot, c.position.Position); err != nil {
			c.lost(err)
			break
		}
		reader := "nobody reads from it at the moment"
		if slot.Active {
			reader = "in use"
		}
		c.ok("slot", "%s is where the relay stopped; %s; %s not acknowledged, %s of log kept for it", name, reader, size(slot.LagBytes), size(slot.RetainedBytes))
	case !slot.Exists:
		c.pending("slot", "%s does not exist yet; run makes it on its first start", name)
	case slot.BelongsToOther(c.server.Database):
		c.fail("slot", "%s is of plugin %s and database %q: somebody else has made it; choose another source.slot", name, slot.Plugin, slot.Database)
	case state == outbox.StateCopying && c.position.Slot == name && c.leader != 0:
		c.pending("slot", "%s was made by a first start that is copying the tables", name)
	case state == outbox.StateCopying && c.position.Slot == name:
		c.warning("slot", "%s was made by a first start that did not end, and %s of log are kept for it; run begins it again, teardown drops it", name, size(slot.RetainedBytes))
	default:
		c.fail("slot", "%s exists, but this outbox has never read from it; drop it (SELECT pg_drop_replication_slot('%s')) if nobody uses it, or choose another source.slot", name, name)
	}
	return c.capacity(ctx, slot)
}

// lost says what becomes of a position that the log cannot be read on from.
func (c *sourceCheck) lost(err error) {
	const compares = "compares all tables with what the relay knows of them, and tells the differences"
	positionErr, ok := errors.AsType[*cdc.PositionError](err)
	switch {
	case !ok || !positionErr.Reconcilable():
		c.fail("slot", "%s", err)
	case c.cfg.Source.Reconcile == config.ReconcileAuto:
		c.warning("slot", "%s; run %s", err, compares)
	default:
		c.fail("slot", "%s; iam-relay reconcile %s", err, compares)
	}
}

// askAgain reads the stored position after the slot, and the end of the log after both: a relay that runs has moved all three
// since they were read, and a slot ahead of its position would be somebody else's doing.
func (c *sourceCheck) askAgain(ctx context.Context) error {
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

// capacity looks whether the server has room for the slot and for its reader.
func (c *sourceCheck) capacity(ctx context.Context, slot cdc.SlotStatus) error {
	var slots, maxSlots, senders, maxSenders int
	err := c.conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_replication_slots), current_setting('max_replication_slots')::int,
		(SELECT count(*) FROM pg_stat_replication), current_setting('max_wal_senders')::int`).Scan(&slots, &maxSlots, &senders, &maxSenders)
	if err != nil {
		return fmt.Errorf("count slots and senders: %w", err)
	}
	switch free := maxSlots - slots; {
	case free < 1 && !slot.Exists:
		c.fail("slots", "all replication slots (%d) are in use; raise max_replication_slots (needs a restart) or drop a slot that nobody uses", maxSlots)
	case free < 1:
		c.warning("slots", "all replication slots (%d) are in use; when the mapping gains tables, the relay needs one more for a while", maxSlots)
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

// size writes a number of bytes for people; negative is unknown.
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
