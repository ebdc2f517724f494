package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// teardown removes what the relay has made. What it finds first decides what it drops.
type teardown struct {
	cfg   *config.Config
	rules *mapping.Rules
	out   io.Writer
	conn  *pgx.Conn // to the source
	store *outbox.Store

	slot    cdc.SlotStatus
	ownSlot bool
	// moved: the slot is past where this relay stopped, so somebody else has read it or made it anew.
	moved       bool
	granted     bool // the relay's role may still read mapped columns that are another's
	publication cdc.Publication
	shared      bool // the publication serves others, too
	schema      bool
}

func teardownCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	yes := flags.Bool("yes", false, "really drop them")
	url := flags.String("url", "", "connect to the source by this `URL` instead of source.url, as somebody who owns the publication and may replicate; leave the password to PGPASSWORD or a password file")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		cfg, rules, err := load(*path, env)
		if err != nil {
			return err
		}
		source := string(cfg.Source.URL)
		if *url != "" {
			source = *url
		}
		t := &teardown{cfg: cfg, rules: rules, out: env.out}
		if t.conn, err = connect(ctx, source); err != nil {
			return err
		}
		defer closeConn(ctx, t.conn)
		if t.store, err = outbox.Open(string(cfg.OutboxURL()), cfg.Outbox.Schema, cfg.Outbox.SealingKeys()); err != nil {
			return err
		}
		defer t.store.Close()
		if err := t.look(ctx); err != nil {
			return err
		}
		if !*yes {
			t.announce()
			return &usageError{"nothing was dropped; run it again with --yes"}
		}
		return t.drop(ctx)
	}
}

// look finds out what there is, whose it is, and that nobody uses it.
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
			return fmt.Errorf("a relay is running (session %d of the outbox's server); stop it first, and every other one", leader)
		}
	} else if t.schema && !setting.SchemaEmpty {
		return fmt.Errorf("schema %s is not the relay's, or role %s may not read it; correct outbox.schema", t.cfg.Outbox.Schema, setting.Role)
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

// lookWhose finds out whether the slot is the one that this outbox has read. In doubt it is somebody else's.
func (t *teardown) lookWhose(ctx context.Context, position outbox.Position) error {
	if !t.slot.Exists || position.State == outbox.StateNew || position.Slot != t.slot.Name {
		return nil
	}
	server, err := cdc.Inspect(ctx, t.conn)
	if err != nil {
		return err
	}
	t.ownSlot = !t.slot.Foreign(server.Database)
	if position.State == outbox.StateStreaming { // a first copy that has not ended has stored no more than the name
		t.ownSlot = t.ownSlot && position.SystemID == server.SystemID && position.Database == server.Database
		t.moved = t.ownSlot && t.slot.Confirmed > position.LSN
		t.ownSlot = t.ownSlot && !t.moved
	}
	return nil
}

// lookForGrants looks for what setup has granted to the relay's role.
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
		return fmt.Errorf("look for what role %s was granted: %w", role, err)
	}
	return nil
}

func (t *teardown) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

func (t *teardown) announce() {
	if t.slot.Exists && t.ownSlot {
		t.say("would drop slot %s", t.slot.Name)
	}
	if t.publication.Exists && !t.shared {
		t.say("would drop publication %s", t.publication.Name)
	}
	if t.schema {
		t.say("would drop schema %s with all events, deliveries and webhooks in it", t.cfg.Outbox.Schema)
	}
	t.left()
}

// left says what stays.
func (t *teardown) left() {
	switch {
	case t.moved:
		t.say("slot %s stays: it has moved past where this relay stopped, so somebody else reads from it or has made it anew; if nobody does: SELECT pg_drop_replication_slot('%s')", t.slot.Name, t.slot.Name)
	case t.slot.Exists && !t.ownSlot:
		t.say("slot %s stays: this relay has not made it", t.slot.Name)
	}
	if t.publication.Exists && t.shared {
		t.say("publication %s stays: it publishes more than the mapped tables (%s)", t.publication.Name, strings.Join(append(t.publication.Schemas, t.publication.Extra...), ", "))
	}
	if role, _ := account(t.cfg.Source.URL); t.granted {
		t.say("role %s stays, and may replicate, connect and read the mapped columns; if it serves nothing else, let an administrator run: DROP OWNED BY %s; DROP ROLE %s", role, quote(role), quote(role))
	}
}

// drop goes from what costs the server most to what remembers whose the rest is. A publication that only its owner may drop
// does not keep the schema.
func (t *teardown) drop(ctx context.Context) error {
	if t.slot.Exists && t.ownSlot {
		if err := cdc.DropSlot(ctx, t.conn, t.slot.Name); err != nil {
			return err
		}
		t.say("dropped slot %s", t.slot.Name)
	}
	var kept error
	if t.publication.Exists && !t.shared {
		sql := "DROP PUBLICATION " + quote(t.publication.Name)
		_, err := t.conn.Exec(ctx, sql)
		switch {
		case hasCode(err, codeNoPrivilege):
			kept = fmt.Errorf("publication %s stays, since it belongs to role %s; let that run: %s", t.publication.Name, t.publication.Owner, sql)
		case err != nil:
			return fmt.Errorf("drop publication %s: %w", t.publication.Name, err)
		default:
			t.say("dropped publication %s", t.publication.Name)
		}
	}
	if t.schema {
		if err := t.dropSchema(ctx); err != nil {
			kept = errors.Join(kept, err)
		}
	}
	t.left()
	return kept
}

// dropSchema drops the schema as the relay's role and, where that is not its owner, as the role of --url.
func (t *teardown) dropSchema(ctx context.Context) error {
	stays, err := t.store.Drop(ctx)
	if err != nil {
		return err
	}
	name := t.cfg.Outbox.Schema
	if stays != "" && t.cfg.Outbox.URL == "" {
		if _, err := t.conn.Exec(ctx, "DROP SCHEMA "+quote(name)); err == nil {
			stays = ""
		} else if !hasCode(err, codeNoPrivilege) {
			return fmt.Errorf("drop schema %s: %w", name, err)
		}
	}
	if stays != "" {
		t.say("dropped the tables of schema %s", name)
		return errors.New(stays)
	}
	t.say("dropped schema %s", name)
	return nil
}
