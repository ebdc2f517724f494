package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// sourceCheck is the part of a check that needs a connection to the IAM's server.
type sourceCheck struct {
	*check
	conn   *pgx.Conn
	server cdc.Server
	role   string
}

func (c *sourceCheck) run(ctx context.Context) {
	c.facts(ctx)
	for _, part := range []struct {
		what string
		run  func(context.Context) error
	}{
		{"replication", c.replication},
		{"tables", c.tables},
		{"publication", c.publication},
		{"others", c.otherPublications},
		{"slot", c.slot},
		{"retention", c.retention},
	} {
		if err := part.run(ctx); err != nil {
			c.fail(part.what, "%s", err)
		}
	}
}

// minors are the first of each major version in which a publication that changes loses no rows and decoding does not
// take memory without bounds: https://www.postgresql.org/about/news/postgresql-176-1610-1514-1419-1322-and-18-beta-3-released-3118/
var minors = map[int]int{14: 19, 15: 14, 16: 10, 17: 6}

const oldest = 14

func (c *sourceCheck) facts(ctx context.Context) {
	major, minor := c.server.Version/10000, c.server.Version%10000
	switch {
	case major < oldest:
		c.fail("source", "PostgreSQL %d; the relay needs %d or newer", major, oldest)
	case minor < minors[major]:
		c.warning("source", "PostgreSQL %d.%d, database %s, role %s; update to %d.%d or newer, which fixes bugs in logical replication", major, minor, c.server.Database, c.role, major, minors[major])
	default:
		c.ok("source", "PostgreSQL %d.%d, database %s, role %s", major, minor, c.server.Database, c.role)
	}
	if problem := cdc.EncodingWarning(c.conn.PgConn()); problem != "" {
		c.warning("source", "%s", problem)
	}
	if c.server.InRecovery {
		c.warning("source", "the server is a standby; its slot is lost if it is rebuilt")
	}
	if c.server.WALLevel == "logical" {
		c.ok("wal_level", "logical")
	} else {
		c.fail("wal_level", "%s", walLevelProblem(c.server, restartPending(ctx, c.conn)))
	}
}

// replication opens a replication connection, since the catalog does not show whether pg_hba.conf and a pooler allow it.
func (c *sourceCheck) replication(ctx context.Context) error {
	var may bool
	if err := c.conn.QueryRow(ctx, `SELECT `+canReplicate+` FROM pg_roles r WHERE r.rolname = current_user`).Scan(&may); err != nil {
		return fmt.Errorf("look up role %s: %w", c.role, err)
	}
	if !may {
		c.fail("replication", "role %s may not replicate; ask an administrator to run: ALTER ROLE %s REPLICATION (on Amazon RDS: GRANT rds_replication TO %s)", c.role, quote(c.role), quote(c.role))
		return nil
	}
	if err := cdc.CheckReplicationAccess(ctx, string(c.cfg.Source.URL)); err != nil {
		c.fail("replication", "%s", err)
		return nil
	}
	c.ok("replication", "role %s opens a replication connection", c.role)
	return nil
}

func (c *sourceCheck) tables(ctx context.Context) error {
	tables := c.rules.Tables()
	catalog, err := cdc.ReadCatalog(ctx, c.conn, tables)
	if err != nil {
		return err
	}
	problems := catalog.Problems()
	c.tableProblems(problems)
	for _, p := range catalog.Withheld() {
		c.fail("tables", "optional, and treated as absent: %s", c.tableText(p))
	}
	filtered, err := rowSecurity(ctx, c.conn, c.role, tables)
	if err != nil {
		return err
	}
	for _, name := range filtered {
		c.fail("tables", "%s", rowSecurityProblem(name, c.role))
	}
	for _, w := range catalog.Warnings() {
		c.warning("tables", "%s", c.tableText(w))
	}
	if len(problems)+len(filtered) > 0 {
		return nil
	}
	var relations []*cdc.Relation
	var missing []string
	for _, t := range tables {
		if r := catalog.Relation(t); r != nil {
			relations = append(relations, r)
		} else {
			missing = append(missing, t.Name)
		}
	}
	mapper, err := mapping.Bind(c.rules, relations)
	if err != nil {
		c.lines("tables", err)
		return nil
	}
	if missing == nil {
		c.ok("tables", "%d, with their keys and columns", len(relations))
	} else {
		c.ok("tables", "%d, with their keys and columns; of the optional ones, %s are not in this database", len(relations), strings.Join(missing, ", "))
	}
	if public := mapper.PublicColumns(); public != nil {
		c.warning("secrets", "declared public in the mapping although they look like secrets: %s; they are stored in the outbox and may be sent", strings.Join(public, ", "))
	}
	return nil
}

// tableText is a problem without the word table, which the line begins with, and with the name of the role.
func (c *sourceCheck) tableText(p cdc.Problem) string {
	return strings.TrimPrefix(strings.ReplaceAll(p.String(), "the relay's role", quote(c.role)), "table ")
}

// tableProblems reports problems of tables. Several missing grants are one line, unless --verbose: one command adds them all.
func (c *sourceCheck) tableProblems(problems []cdc.Problem) {
	var grants []string
	for _, p := range problems {
		if strings.HasPrefix(p.Fix, "GRANT") && !slices.Contains(grants, p.Table) {
			grants = append(grants, p.Table)
		}
	}
	summarize := len(grants) > 1 && !c.verbose
	for _, p := range problems {
		if !summarize || !strings.HasPrefix(p.Fix, "GRANT") {
			c.fail("tables", "%s", c.tableText(p))
		}
	}
	if summarize {
		c.fail("tables", "role %s cannot read %d of %d mapped tables (%s); as their owner, run: iam-relay setup --url URL-OF-THE-OWNER-OF-THE-TABLES, or psql with the output of iam-relay setup --print; see them all with iam-relay check --verbose",
			c.role, len(grants), len(c.rules.Tables()), some(grants))
	}
}
