package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// teardownJSON is the result of teardown.
type teardownJSON struct {
	DryRun bool     `json:"dry_run"`
	Drop   []string `json:"drop"` // dropped, or to be dropped, as "slot iam_relay"
	Keep   []string `json:"keep"` // what stays, and why
}

// teardown removes what the relay has created. It looks first, and decides by that what it drops.
type teardown struct {
	*environment
	cfg    *config.Config
	rules  *mapping.Rules
	conn   *pgx.Conn // to the source
	store  *outbox.Store
	result teardownJSON

	slot    cdc.SlotStatus
	ownSlot bool
	// moved: the slot is ahead of the position where this relay stopped, so another program has read or recreated it.
	moved       bool
	granted     bool // the relay's role may still read mapped columns of tables that it does not own
	publication cdc.Publication
	shared      bool // the publication publishes other tables too
	schema      bool
}

func teardownCommand(env *environment) *cobra.Command {
	var yes, dryRun bool
	var url string
	cmd := &cobra.Command{
		Use:   "teardown",
		Short: "Drop the slot, the publication and the outbox",
		Long: `Drop everything the relay has created: its replication slot, its publication and its schema with
all events, deliveries and webhooks. Stop every relay first. Objects that anything else uses are kept.`,
		Example: `  iam-relay teardown --dry-run
  iam-relay teardown --yes --url postgres://owner@db/iam`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if yes && dryRun {
				return &usageError{"give either --yes or --dry-run"}
			}
			cfg, rules, err := env.loadRules()
			if err != nil {
				return err
			}
			t := &teardown{environment: env, cfg: cfg, rules: rules}
			if err := t.run(cmd.Context(), cmp.Or(url, string(cfg.Source.URL)), yes); err != nil {
				return err
			}
			if !yes && !dryRun {
				return &usageError{"nothing was dropped; confirm with --yes"}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "confirm")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print what would be dropped, and change nothing")
	cmd.Flags().StringVar(&url, "url", "", "connect to the source with `URL` instead of source.url, as the owner of the publication with REPLICATION; keep the password in PGPASSWORD or a password file")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

func (t *teardown) run(ctx context.Context, source string, drop bool) (err error) {
	if t.conn, err = connect(ctx, source); err != nil {
		return err
	}
	defer closeConn(ctx, t.conn)
	if t.store, err = outbox.Open(string(t.cfg.OutboxURL()), t.cfg.Outbox.Schema, t.cfg.Outbox.EncryptionKeys()); err != nil {
		return err
	}
	defer t.store.Close()
	if err := t.look(ctx); err != nil {
		return err
	}
	t.result.DryRun = !drop
	if drop {
		err = t.drop(ctx)
	} else {
		t.announce()
	}
	if t.json {
		err = errors.Join(writeObject(t.out, t.result), err)
	}
	return err
}

// drops reports what is, or would be, dropped.
func (t *teardown) drops(what, details string) {
	t.result.Drop = append(t.result.Drop, what)
	verb := "dropped "
	if t.result.DryRun {
		verb = "would drop "
	}
	t.say("%s", verb+what+details)
}

// keeps reports what stays.
func (t *teardown) keeps(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.result.Keep = append(t.result.Keep, text)
	t.say("%s", text)
}

func (t *teardown) announce() {
	if t.slot.Exists && t.ownSlot {
		t.drops("slot "+t.slot.Name, "")
	}
	if t.publication.Exists && !t.shared {
		t.drops("publication "+t.publication.Name, "")
	}
	if t.schema {
		t.drops("schema "+t.cfg.Outbox.Schema, " with all events, deliveries and webhooks in it")
	}
	t.remaining()
}

// remaining reports what stays.
func (t *teardown) remaining() {
	switch {
	case t.moved:
		t.keeps("slot %s stays: it is ahead of the position where this relay stopped, so another program reads it or has recreated it; if none does: SELECT pg_drop_replication_slot('%s')", t.slot.Name, t.slot.Name)
	case t.slot.Exists && !t.ownSlot:
		t.keeps("slot %s stays: this relay did not create it", t.slot.Name)
	}
	if t.publication.Exists && t.shared {
		t.keeps("publication %s stays: it publishes more than the mapped tables (%s)", t.publication.Name, strings.Join(append(t.publication.Schemas, t.publication.Extra...), ", "))
	}
	if role, _ := account(t.cfg.Source.URL); t.granted {
		t.keeps("role %s stays, with its rights to replicate, connect and read the mapped columns; if it has no other use, ask an administrator to run: DROP OWNED BY %s; DROP ROLE %s", role, quote(role), quote(role))
	}
}

// drop begins with the slot, which costs the server most, and ends with the schema, which identifies the slot as the relay's. A
// publication that only its owner may drop does not prevent the rest.
func (t *teardown) drop(ctx context.Context) error {
	if t.slot.Exists && t.ownSlot {
		if err := cdc.DropSlot(ctx, t.conn, t.slot.Name); err != nil {
			return err
		}
		t.drops("slot "+t.slot.Name, "")
	}
	var kept error
	if t.publication.Exists && !t.shared {
		sql := "DROP PUBLICATION " + quote(t.publication.Name)
		_, err := t.conn.Exec(ctx, sql)
		switch {
		case hasCode(err, codeNoPrivilege):
			kept = fmt.Errorf("publication %s stays because it belongs to role %s; as that role, run: %s", t.publication.Name, t.publication.Owner, sql)
		case err != nil:
			return fmt.Errorf("drop publication %s: %w", t.publication.Name, err)
		default:
			t.drops("publication "+t.publication.Name, "")
		}
	}
	if t.schema {
		if err := t.dropSchema(ctx); err != nil {
			kept = errors.Join(kept, err)
		}
	}
	t.remaining()
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
		t.drops("the tables of schema "+name, "")
		return errors.New(stays)
	}
	t.drops("schema "+name, "")
	return nil
}
