package command

import (
	"context"
	"fmt"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// look finds what exists and who owns it, and refuses what is in use.
func (t *teardown) look(ctx context.Context) error {
	setting, err := t.store.Setting(ctx)
	if err != nil {
		return err
	}
	t.schema = setting.SchemaExists
	if t.slot, err = cdc.Slot(ctx, t.conn, t.cfg.Source.Slot); err != nil {
		return err
	}
	if setting.Migration > 0 {
		position, err := t.store.Position(ctx)
		if err != nil {
			return err
		}
		if err := t.lookWhose(ctx, position); err != nil {
			return err
		}
		leader, err := t.store.LeaderPID(ctx)
		if err != nil {
			return err
		}
		if leader != 0 {
			return fmt.Errorf("a relay is running (session %d of the outbox's server); stop every relay first", leader)
		}
	} else if t.schema && !setting.SchemaEmpty {
		return fmt.Errorf("schema %s is not the relay's, or role %s cannot read it; correct outbox.schema", t.cfg.Outbox.Schema, setting.Role)
	}
	if t.slot.Active && t.ownSlot {
		return fmt.Errorf("slot %s is in use by process %d of the server; stop the relay first", t.slot.Name, t.slot.ActivePID)
	}
	t.publication, err = cdc.PublicationStatus(ctx, t.conn, t.cfg.Source.Publication, t.rules.Tables())
	t.shared = t.publication.AllTables || t.publication.Schemas != nil || t.publication.Extra != nil
	if err != nil {
		return err
	}
	return t.lookForGrants(ctx)
}

// lookWhose decides whether the slot is the one that this outbox has read. In doubt it is not.
func (t *teardown) lookWhose(ctx context.Context, position outbox.Position) error {
	if !t.slot.Exists || position.State == outbox.StateNew || position.Slot != t.slot.Name {
		return nil
	}
	server, err := cdc.InspectServer(ctx, t.conn)
	if err != nil {
		return err
	}
	t.ownSlot = !t.slot.BelongsToOther(server.Database)
	if position.State == outbox.StateStreaming { // an unfinished initial copy has stored only the name
		t.ownSlot = t.ownSlot && position.SystemID == server.SystemID && position.Database == server.Database
		t.moved = t.ownSlot && t.slot.Confirmed > position.LSN
		t.ownSlot = t.ownSlot && !t.moved
	}
	return nil
}

// lookForGrants looks for grants of setup to the relay's role.
func (t *teardown) lookForGrants(ctx context.Context) error {
	role, _ := account(t.cfg.Source.URL)
	tables := make([]string, len(t.rules.Tables()))
	for i, table := range t.rules.Tables() {
		tables[i] = quote(table.Schema, table.Name)
	}
	err := t.conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) AS acl
		JOIN pg_roles r ON r.oid = acl.grantee WHERE a.attrelid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name) AND r.rolname = $2 AND c.relowner <> r.oid)`,
		tables, role).Scan(&t.granted)
	if err != nil {
		return fmt.Errorf("read the grants of role %s: %w", role, err)
	}
	return nil
}
