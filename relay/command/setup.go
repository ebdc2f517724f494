package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// setup creates the prerequisites of the relay.
type setup struct {
	*environment
	cfg    *config.Config
	tables []*cdc.Table
	role   string // the relay's
	url    string // of the connection that creates them
	// wholeTables: the role may read whole tables instead of the mapped columns.
	wholeTables bool
	sql         *strings.Builder // printed by --print; nil without it
	result      setupJSON
}

// setupJSON is the result of setup.
type setupJSON struct {
	Done     []string `json:"done"`
	Warnings []string `json:"warnings"`
	Problems []string `json:"problems,omitempty"` // that the printed SQL does not solve
	SQL      string   `json:"sql,omitempty"`      // with --print
}

func setupCommand(env *environment) *cobra.Command {
	var printSQL bool
	var role, url string
	s := &setup{environment: env}
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Create the prerequisites in the IAM's database",
		Long: `Create the publication, the grants of the relay's role and the outbox's tables, as the owner of
the mapped tables; or print the SQL for it. It adds only what is missing, and can be repeated.`,
		Example: `  iam-relay setup --url postgres://owner@db/iam
  iam-relay setup --print --url postgres://owner@db/iam > setup.sql`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, rules, err := env.loadRules()
			if err != nil {
				return err
			}
			own, _ := account(cfg.Source.URL)
			s.cfg, s.tables, s.role, s.url = cfg, rules.Tables(), cmp.Or(role, own), cmp.Or(url, string(cfg.Source.URL))
			if printSQL {
				err = s.print(cmd.Context())
			} else {
				err = s.run(cmd.Context())
			}
			if env.json {
				err = errors.Join(writeObject(env.out, s.result), err)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&printSQL, "print", false, "print the SQL instead of running it")
	cmd.Flags().StringVar(&role, "role", "", "the relay's `ROLE`; default: that of source.url")
	cmd.Flags().StringVar(&url, "url", "", "connect with `URL`, as the owner of the tables, instead of source.url; keep the password in PGPASSWORD or a password file")
	cmd.Flags().BoolVar(&s.wholeTables, "whole-tables", false, "grant SELECT on whole tables, with their secrets, so that columns added by an upgrade of the IAM need no new grant")
	env.jsonFlag(cmd, "print JSON")
	return cmd
}

// done reports a step.
func (s *setup) done(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.result.Done = append(s.result.Done, text)
	s.say("%s", text)
}

func (s *setup) warning(text string) {
	s.result.Warnings = append(s.result.Warnings, text)
	s.say("WARNING: %s", text)
}

// run does each step that the connection's role is allowed to, and stops at the first that it is not.
func (s *setup) run(ctx context.Context) error {
	conn, err := connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	server, err := cdc.InspectServer(ctx, conn)
	if err != nil {
		return err
	}
	if server.WALLevel != "logical" {
		return errors.New(walLevelProblem(server, restartPending(ctx, conn)))
	}
	s.done("wal_level is logical")
	catalog, err := cdc.ReadCatalog(ctx, conn, s.tables)
	if err != nil {
		return err
	}
	if err := s.checkTables(ctx, conn, catalog); err != nil {
		return err
	}
	if err := s.publish(ctx, conn); err != nil {
		return err
	}
	var current string
	if err := conn.QueryRow(ctx, `SELECT current_user`).Scan(&current); err != nil {
		return fmt.Errorf("ask for the current role: %w", err)
	}
	if current != s.role {
		err = s.grant(ctx, conn, server, catalog)
	} else {
		err = s.replicates(ctx, conn)
	}
	if err != nil {
		return err
	}
	return s.migrate(ctx)
}

// restartPending reports whether wal_level is set to logical in a configuration file and waits for a restart of the server. It
// is false where the role may not read the files.
func restartPending(ctx context.Context, conn *pgx.Conn) (pending bool) {
	err := conn.QueryRow(ctx, `SELECT setting = 'logical' FROM pg_catalog.pg_file_settings WHERE name = 'wal_level' ORDER BY seqno DESC LIMIT 1`).Scan(&pending)
	return err == nil && pending
}

func walLevelProblem(server cdc.Server, restart bool) string {
	if restart {
		return fmt.Sprintf("the server's wal_level is set to logical but still %s; restart the server", server.WALLevel)
	}
	return fmt.Sprintf("the server's wal_level is %s; run ALTER SYSTEM SET wal_level = 'logical' and restart the server (managed services have a parameter for it)", server.WALLevel)
}

func (s *setup) checkTables(ctx context.Context, conn *pgx.Conn, catalog *cdc.Catalog) error {
	var texts []string
	for _, p := range catalog.Problems() {
		texts = append(texts, p.String())
	}
	filtered, err := rowSecurity(ctx, conn, s.role, s.tables)
	if err != nil {
		return err
	}
	for _, table := range filtered {
		texts = append(texts, "table "+rowSecurityProblem(table, s.role))
	}
	if texts != nil {
		return errors.New(strings.Join(texts, "\n"))
	}
	for _, w := range catalog.Warnings() {
		s.warning(w.String())
	}
	return nil
}

func (s *setup) publish(ctx context.Context, conn *pgx.Conn) error {
	name := s.cfg.Source.Publication
	before, err := cdc.PublicationStatus(ctx, conn, name, s.tables)
	if err != nil {
		return err
	}
	if problems := before.Problems(); len(problems) > 0 {
		return fmt.Errorf("publication %s: %s", name, strings.Join(problems, "\n"))
	}
	if _, err := cdc.EnsurePublication(ctx, conn, name, s.tables); err != nil {
		return err
	}
	switch {
	case !before.Exists:
		s.done("publication %s: created for %d tables", name, len(before.Missing))
	case len(before.SQL()) > 0:
		s.done("publication %s: updated, tables added: %d", name, len(before.Missing))
	default:
		s.done("publication %s: has all mapped tables", name)
	}
	hazards, err := cdc.UnresolvedHazards(ctx, conn, name, s.tables)
	if err != nil {
		return err
	}
	for _, h := range hazards {
		s.warning(h.String())
	}
	return nil
}

// migrate creates the outbox's tables as the role that will use them.
func (s *setup) migrate(ctx context.Context) error {
	name := s.cfg.Outbox.Schema
	if own, _ := account(s.cfg.OutboxURL()); own != s.role && s.cfg.Outbox.URL == "" {
		s.done("schema %s: role %s creates its tables when it runs", name, s.role)
		return nil
	}
	store, err := outbox.Open(string(s.cfg.OutboxURL()), name, s.cfg.Outbox.EncryptionKeys())
	if err != nil {
		return err
	}
	defer store.Close()
	before, err := store.Setting(ctx)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx); err != nil {
		return err
	}
	if before.Migration == before.Known {
		s.done("schema %s: up to date", name)
	} else {
		s.done("schema %s: created or upgraded", name)
	}
	return nil
}

func schemaExists(ctx context.Context, conn *pgx.Conn, name string) (exists bool, err error) {
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, name).Scan(&exists); err != nil {
		return false, fmt.Errorf("look for schema %s: %w", name, err)
	}
	return exists, nil
}

// optional returns the tables that a database may lack.
func optional(tables []*cdc.Table) []*cdc.Table {
	return slices.DeleteFunc(slices.Clone(tables), func(t *cdc.Table) bool { return !t.Optional })
}
