package command

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
	"github.com/iam-relay/iam-relay/relay/config"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// setup is what has to be there before the relay can run, and who makes it.
type setup struct {
	cfg    *config.Config
	tables []*cdc.Table
	role   string // the relay's
	url    string // of whoever makes it
	out    io.Writer
	// wholeTables: the role may read whole tables instead of the mapped columns.
	wholeTables bool
}

func setupCommand(flags *flag.FlagSet) func(context.Context, *environment, []string) error {
	path := configFlag(flags)
	printSQL := flags.Bool("print", false, "print the SQL for the owner of the tables instead of running it")
	role := flags.String("role", "", "the relay's `role`; by default that of source.url")
	url := flags.String("url", "", "connect by this `URL` of the tables' owner instead of source.url; leave the password to PGPASSWORD or a password file")
	wholeTables := flags.Bool("whole-tables", false, "let the role read the mapped tables whole, with their secrets, so that columns which an upgrade of the IAM adds need no further grant")
	return func(ctx context.Context, env *environment, args []string) error {
		if err := noArguments(args); err != nil {
			return err
		}
		cfg, rules, err := load(*path, env)
		if err != nil {
			return err
		}
		s := newSetup(cfg, rules, *role, *url, env.out)
		s.wholeTables = *wholeTables
		if *printSQL {
			return s.print(ctx, env.err)
		}
		return s.run(ctx)
	}
}

func newSetup(cfg *config.Config, rules *mapping.Rules, role, url string, out io.Writer) *setup {
	own, _ := account(cfg.Source.URL)
	return &setup{cfg: cfg, tables: rules.Tables(), role: cmp.Or(role, own), url: cmp.Or(url, string(cfg.Source.URL)), out: out}
}

func (s *setup) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// run does what the connection's role may do, and ends at the first thing that it may not.
func (s *setup) run(ctx context.Context) error {
	conn, err := connect(ctx, s.url)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	server, err := cdc.Inspect(ctx, conn)
	if err != nil {
		return err
	}
	if server.WALLevel != "logical" {
		return errors.New(walLevelProblem(server))
	}
	s.say("wal_level is logical")
	catalog, err := cdc.Describe(ctx, conn, s.tables)
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

func walLevelProblem(server cdc.Server) string {
	return fmt.Sprintf("the server's wal_level is %s; run ALTER SYSTEM SET wal_level = 'logical' and restart it (managed services have a parameter for it)", server.WALLevel)
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
		s.say("WARNING: %s", w)
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
		s.say("publication %s: made for %d tables", name, len(before.Missing))
	case len(before.SQL()) > 0:
		s.say("publication %s: brought up to date, tables added: %d", name, len(before.Missing))
	default:
		s.say("publication %s: has all mapped tables", name)
	}
	hazards, err := cdc.OtherHazards(ctx, conn, name, s.tables)
	if err != nil {
		return err
	}
	for _, h := range hazards {
		s.say("WARNING: %s", h)
	}
	return nil
}

// replicates makes sure of what no role can give itself.
func (s *setup) replicates(ctx context.Context, conn *pgx.Conn) error {
	role, err := lookUpRole(ctx, conn, s.role)
	if err != nil {
		return err
	}
	if !role.replicates {
		return fmt.Errorf("role %s may not replicate; let an administrator run: ALTER ROLE %s REPLICATION (on Amazon RDS: GRANT rds_replication TO %s)", s.role, quote(s.role), quote(s.role))
	}
	return nil
}

// grant gives the relay's role what it needs, where somebody else runs setup.
func (s *setup) grant(ctx context.Context, conn *pgx.Conn, server cdc.Server, catalog *cdc.Catalog) error {
	role, err := lookUpRole(ctx, conn, s.role)
	if err != nil {
		return err
	}
	if !role.exists {
		return fmt.Errorf("role %s does not exist; let an administrator run CREATE ROLE %s LOGIN REPLICATION, give it a password (in psql: \\password %s), and run setup again",
			s.role, quote(s.role), s.role)
	}
	type step struct{ who, sql string }
	var steps []step
	if !role.replicates {
		steps = append(steps, step{"an administrator", fmt.Sprintf("ALTER ROLE %s REPLICATION;", quote(s.role))})
	}
	if !role.connects {
		steps = append(steps, step{"the owner of the database", fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", quote(server.Database), quote(s.role))})
	}
	lacking, err := s.lackingGrants(ctx, conn, role, catalog)
	if err != nil {
		return err
	}
	for _, sql := range lacking {
		steps = append(steps, step{"the owner of the tables", sql})
	}
	if s.cfg.Outbox.URL == "" {
		exists, err := schemaExists(ctx, conn, s.cfg.Outbox.Schema)
		if err != nil {
			return err
		}
		if !exists { // to make it again fails where the role may not, although there is nothing to do
			steps = append(steps, step{"the owner of the database", outbox.SchemaSQL(s.cfg.Outbox.Schema, s.role)})
		}
	}
	for _, step := range steps {
		if _, err := conn.Exec(ctx, step.sql); err != nil {
			if hasCode(err, codeNoPrivilege) {
				return &cdc.PermissionError{Action: "give role " + s.role + " its rights", Who: step.who, SQL: []string{step.sql}, Err: err}
			}
			return fmt.Errorf("%s %w", step.sql, err)
		}
	}
	if role, err = lookUpRole(ctx, conn, s.role); err != nil {
		return err
	}
	if !role.connects { // where the grantor holds some right of its own, to grant nothing is only a warning
		return fmt.Errorf("role %s may not connect; let the owner of the database run: GRANT CONNECT ON DATABASE %s TO %s", s.role, quote(server.Database), quote(s.role))
	}
	s.say("role %s: may replicate, connect, and read the mapped columns", s.role)
	return nil
}

// migrate makes the outbox's tables as the role that will use them.
func (s *setup) migrate(ctx context.Context) error {
	name := s.cfg.Outbox.Schema
	if own, _ := account(s.cfg.OutboxURL()); own != s.role && s.cfg.Outbox.URL == "" {
		s.say("schema %s: role %s makes its tables when it runs", name, s.role)
		return nil
	}
	store, err := outbox.Open(string(s.cfg.OutboxURL()), name, s.cfg.Outbox.SealingKeys())
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
		s.say("schema %s: is up to date", name)
	} else {
		s.say("schema %s: made, or brought up to date", name)
	}
	return nil
}

// relayRole is what the server says of the relay's role.
type relayRole struct{ exists, replicates, connects bool }

// canReplicate is true for a role that may replicate. Amazon RDS leaves the attribute false and has a role for it.
const canReplicate = `(r.rolreplication OR r.rolsuper
	OR coalesce((SELECT pg_has_role(r.oid, rds.oid, 'MEMBER') FROM pg_roles rds WHERE rds.rolname = 'rds_replication'), false))`

func lookUpRole(ctx context.Context, conn *pgx.Conn, name string) (relayRole, error) {
	role := relayRole{exists: true}
	err := conn.QueryRow(ctx, `SELECT `+canReplicate+`, has_database_privilege(r.oid, current_database(), 'CONNECT')
		FROM pg_roles r WHERE r.rolname = $1`, name).Scan(&role.replicates, &role.connects)
	if errors.Is(err, pgx.ErrNoRows) {
		return relayRole{}, nil
	}
	if err != nil {
		return role, fmt.Errorf("look up role %s: %w", name, err)
	}
	return role, nil
}

func schemaExists(ctx context.Context, conn *pgx.Conn, name string) (exists bool, err error) {
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)`, name).Scan(&exists); err != nil {
		return false, fmt.Errorf("look for schema %s: %w", name, err)
	}
	return exists, nil
}

// optional are the tables that a database need not have.
func optional(tables []*cdc.Table) []*cdc.Table {
	return slices.DeleteFunc(slices.Clone(tables), func(t *cdc.Table) bool { return !t.Optional })
}
