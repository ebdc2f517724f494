package command

import (
	"context"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// outbox checks the outbox's database.
func (c *check) outbox(ctx context.Context) {
	store, err := outbox.Open(string(c.cfg.OutboxURL()), c.cfg.Outbox.Schema, c.cfg.Outbox.EncryptionKeys())
	if err != nil {
		c.fail("outbox", "%s", err)
		return
	}
	defer store.Close()
	o, err := store.Setting(ctx)
	if err != nil {
		c.fail("outbox", "%s", err)
		return
	}
	if ahead, took, err := store.SyncClock(ctx); err == nil { // else the next query reports the error
		c.noteClock("the outbox's server", ahead, took)
	}
	schema := c.cfg.Outbox.Schema
	switch {
	case o.Encoding != "":
		c.fail("outbox", "%s", o.Encoding)
	case o.ReadOnly:
		c.fail("outbox", "database %s is read-only for role %s: if it is a standby, set outbox.url to the primary", o.Database, o.Role)
	case !o.SchemaExists && o.MayCreateSchema:
		c.pending("outbox", "schema %s of database %s does not exist yet; iam-relay run creates it", schema, o.Database)
	case !o.SchemaExists:
		c.fail("outbox", "schema %s does not exist, and role %s may not create it; as the owner of the database, run: %s or: GRANT CREATE ON DATABASE %s TO %s",
			schema, o.Role, outbox.SchemaSQL(schema, o.Role), quote(o.Database), quote(o.Role))
	case !o.SchemaUsable:
		c.fail("outbox", "role %s may not create tables in schema %s; as the schema's owner, run: GRANT USAGE, CREATE ON SCHEMA %s TO %s", o.Role, schema, quote(schema), quote(o.Role))
	case len(o.Foreign) > 0:
		c.fail("outbox", "tables of schema %s belong to another role (%s); as that role, run: ALTER TABLE … OWNER TO %s", schema, strings.Join(o.Foreign, ", "), quote(o.Role))
	case o.Migration > o.Known:
		c.fail("outbox", "schema %s was created by a newer iam-relay (migration %d, this version has %d); use that version", schema, o.Migration, o.Known)
	case o.Migration < o.Known:
		c.pending("outbox", "schema %s is not up to date (migration %d of %d); iam-relay run upgrades it", schema, o.Migration, o.Known)
	default:
		c.ok("outbox", "schema %s of database %s", schema, o.Database)
	}
	if o.Migration == 0 || o.Migration > o.Known {
		return
	}
	position, err := store.Position(ctx)
	if err != nil {
		c.fail("outbox", "%s", err)
		return
	}
	c.position = &position
	if c.leader, err = store.LeaderPID(ctx); err != nil {
		c.fail("outbox", "%s", err)
	}
	if wait, err := store.IngestWait(ctx); err != nil {
		c.fail("outbox", "%s", err)
	} else if wait != nil && wait.For > time.Second {
		c.stuck = wait.String()
		c.fail("outbox", "%s", c.stuck)
	}
	if o.Migration < o.Known {
		return // table webhook may lack columns
	}
	if c.webhooks, err = store.LoadWebhooks(ctx); err != nil {
		c.fail("outbox", "%s", err)
	}
}
