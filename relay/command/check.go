package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// The marks of a line: met, not met, met but unwise, and not to be told (yet).
const (
	markOK   = "✓"
	markFail = "✗"
	markWarn = "!"
	markNone = "—"
)

// check tries the preconditions one after another and writes a line for each.
type check struct {
	version string
	out     io.Writer
	failed  int

	cfg   *config.Config
	rules *mapping.Rules
	// position is the stored one; nil where the outbox could not tell it or there is none yet.
	position *outbox.Position
	leader   int              // process of the leading relay's session, 0 if none leads
	stuck    string           // what a commit of the outbox waits for
	webhooks []outbox.Webhook // as the outbox knows them
	clocks   []clockReading
}

func checkCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	endpoints := flags.Bool("endpoints", false, "also look up and connect to each webhook's URL; nothing is sent")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		c := &check{version: env.version, out: env.out}
		if c.configuration(*path, env.environ) {
			c.spill()
			c.outbox(ctx)
			c.source(ctx)
			c.compareClocks()
			c.checkWebhooks()
			if *endpoints {
				c.endpoints(ctx)
			}
		}
		switch {
		case ctx.Err() != nil:
			return errInterrupted
		case c.failed == 1:
			return errors.New("1 precondition is not met")
		case c.failed > 0:
			return fmt.Errorf("%d preconditions are not met", c.failed)
		}
		return nil
	}
}

func (c *check) line(mark, what, format string, args ...any) {
	if mark == markFail {
		c.failed++
	}
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	fmt.Fprintf(c.out, "%s %-12s %s\n", mark, what, text)
}

func (c *check) ok(what, format string, args ...any)   { c.line(markOK, what, format, args...) }
func (c *check) fail(what, format string, args ...any) { c.line(markFail, what, format, args...) }
func (c *check) warn(what, format string, args ...any) { c.line(markWarn, what, format, args...) }
func (c *check) none(what, format string, args ...any) { c.line(markNone, what, format, args...) }

// configuration loads the configuration and the mapping; without them there is nothing to go on with.
func (c *check) configuration(path string, environ []string) bool {
	var err error
	if c.cfg, err = config.Load(path, environ); err != nil {
		c.lines("config", err)
		return false
	}
	c.ok("config", "%s", path)
	if c.rules, err = relay.Rules(c.cfg); err != nil {
		c.lines("mapping", err)
		return false
	}
	c.ok("mapping", "%d events of %d tables", len(c.rules.EventNames()), len(c.rules.Tables()))
	return true
}

// lines writes one for each line of an error that has several problems.
func (c *check) lines(what string, err error) {
	for text := range strings.SplitSeq(err.Error(), "\n") {
		c.fail(what, "%s", text)
	}
}

// spill makes the file that a large transaction needs: in a container or under a supervisor's protection, no directory may
// be writable, which would otherwise show only when such a transaction comes, and stop the relay.
func (c *check) spill() {
	dir := cmp.Or(c.cfg.Source.SpillDir, os.TempDir())
	file, err := os.CreateTemp(dir, "iam-relay-check-*")
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err
		}
		c.fail("spill", "no temporary file for large transactions can be made in %s: %s; make it writable, or set source.spill_dir to another directory", dir, err)
		return
	}
	if err := errors.Join(file.Close(), os.Remove(file.Name())); err != nil {
		c.fail("spill", "%s", err)
		return
	}
	c.ok("spill", "large transactions go into temporary files in %s", dir)
}

// outbox looks at where events are kept.
func (c *check) outbox(ctx context.Context) {
	store, err := outbox.Open(string(c.cfg.OutboxURL()), c.cfg.Outbox.Schema, c.cfg.Outbox.SealingKeys())
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
	if ahead, took, err := store.SyncClock(ctx); err == nil { // else the next query reports why
		c.noteClock("the outbox's server", ahead, took)
	}
	schema := c.cfg.Outbox.Schema
	switch {
	case o.Encoding != "":
		c.fail("outbox", "%s", o.Encoding)
	case o.ReadOnly:
		c.fail("outbox", "database %s is read-only for role %s: if it is a standby, set outbox.url to the primary", o.Database, o.Role)
	case !o.SchemaExists && o.MayCreateSchema:
		c.none("outbox", "schema %s of database %s does not exist yet; run makes it", schema, o.Database)
	case !o.SchemaExists:
		c.fail("outbox", "schema %s does not exist, and role %s may not create it; as the owner of the database, run: %s or: GRANT CREATE ON DATABASE %s TO %s",
			schema, o.Role, outbox.SchemaSQL(schema, o.Role), quote(o.Database), quote(o.Role))
	case !o.SchemaUsable:
		c.fail("outbox", "role %s may not create tables in schema %s; as the schema's owner, run: GRANT USAGE, CREATE ON SCHEMA %s TO %s", o.Role, schema, quote(schema), quote(o.Role))
	case len(o.Foreign) > 0:
		c.fail("outbox", "tables of schema %s belong to another role (%s); as that role, run: ALTER TABLE … OWNER TO %s", schema, strings.Join(o.Foreign, ", "), quote(o.Role))
	case o.Migration > o.Known:
		c.fail("outbox", "schema %s was created by a newer iam-relay (migration %d, this version knows %d): run that version", schema, o.Migration, o.Known)
	case o.Migration < o.Known:
		c.none("outbox", "schema %s is not up to date (migration %d of %d); run brings it there", schema, o.Migration, o.Known)
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
		return // the webhooks have columns that are not there yet
	}
	if c.webhooks, err = store.LoadWebhooks(ctx); err != nil {
		c.fail("outbox", "%s", err)
	}
}

// source looks at the IAM's database.
func (c *check) source(ctx context.Context) {
	conn, err := connect(ctx, string(c.cfg.Source.URL))
	if err != nil {
		c.fail("source", "%s", err)
		return
	}
	defer closeConn(ctx, conn)
	c.readClock(ctx, conn, "the source's server")
	server, err := cdc.Inspect(ctx, conn)
	if err != nil {
		c.fail("source", "%s", err)
		return
	}
	source := &sourceCheck{check: c, conn: conn, server: server, role: conn.Config().User}
	source.run(ctx)
}
