package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/relay/outbox"
)

// lookTime bounds the reading of the database that the SQL is for.
const lookTime = 5 * time.Second

// found is the state of the database; the zero value is for one that cannot be reached.
type found struct {
	server      cdc.Server
	catalog     *cdc.Catalog // nil without a connection
	publication cdc.Publication
	role        relayRole
	restart     bool     // wal_level is set, and waits for a restart
	grants      []string // that the role lacks
	filtered    []string // tables (schema.name) of which the role may not see all rows
	schema      bool     // the outbox's schema exists in this database
}

// line adds a line of SQL.
func (s *setup) line(format string, args ...any) {
	fmt.Fprintf(s.sql, format+"\n", args...)
	s.say(format, args...)
}

// print prints the SQL for a role with more rights. It can be run as it is, and repeated if the database could be read.
func (s *setup) print(ctx context.Context) error {
	s.sql = &strings.Builder{}
	f, err := s.look(ctx)
	if err != nil {
		f = &found{publication: cdc.Publication{Name: s.cfg.Source.Publication}}
		fmt.Fprintf(s.err, "iam-relay: printed without the state of the database: %v\n", err)
	}
	_, database := account(s.cfg.Source.URL)
	if f.server.Database != "" {
		database = f.server.Database
	}
	s.line("-- Prerequisites of IAM Relay in database %s. Run this there as a superuser; or run the part about the role as an administrator,", database)
	s.line("-- and the rest as the owner of the mapped tables, with CREATE on the database.")
	s.line("-- psql: --set ON_ERROR_STOP=1 --single-transaction --file setup.sql")
	if f.catalog == nil {
		s.line("--\n-- The database could not be read, so statements that it may not need are commented out.")
	}
	switch f.server.WALLevel {
	case "logical":
		s.line("\n-- wal_level is logical, as required.")
	case "":
		s.line("\n-- wal_level must be logical. If SHOW wal_level says otherwise:")
	default:
		s.line("\n-- PROBLEM: wal_level is %s, and must be logical:", f.server.WALLevel)
	}
	if f.server.WALLevel != "logical" {
		s.line("--   ALTER SYSTEM SET wal_level = 'logical';   -- and restart the server; managed services have a parameter for it")
	}
	s.line("-- pg_hba.conf must let the role connect to the database by its name. A line for \"replication\" is not needed:")
	s.line("--   hostssl %s %s 192.0.2.10/32 scram-sha-256", database, s.role)
	s.line("\nSET lock_timeout = '500ms';   -- fail and be repeated rather than block others during a migration of the IAM")
	s.printRole(f, database)
	s.printGrants(f)
	s.printPublication(f)
	s.printOutbox(f)
	for _, w := range f.warnings() {
		s.result.Warnings = append(s.result.Warnings, w.String())
		if !s.json {
			fmt.Fprintf(s.err, "iam-relay: warning: %s\n", w)
		}
	}
	s.result.SQL, s.result.Problems = s.sql.String(), f.problems()
	if problems := f.problems(); len(problems) > 0 {
		return errors.New(strings.Join(problems, "\n"))
	}
	return nil
}

// harmful returns the reasons not to create or change the publication: statements of the IAM would fail, or the relay could not work.
func (f *found) harmful() []string {
	var all []string
	if f.catalog == nil {
		return nil
	}
	for _, p := range f.catalog.Problems() {
		if !strings.Contains(p.Fix, "GRANT") { // printed as a statement
			all = append(all, p.String())
		}
	}
	for _, problem := range f.publication.Problems() {
		all = append(all, fmt.Sprintf("publication %s: %s", f.publication.Name, problem))
	}
	return all
}

// problems returns the problems that the printed statements do not solve.
func (f *found) problems() []string {
	all := f.harmful()
	if f.catalog != nil && f.server.WALLevel != "logical" {
		all = append(all, walLevelProblem(f.server, f.restart))
	}
	return all
}

func (f *found) warnings() []cdc.Problem {
	if f.catalog == nil {
		return nil
	}
	return f.catalog.Warnings()
}

func (s *setup) look(ctx context.Context) (*found, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	conn, err := connect(ctx, s.url)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	f := &found{}
	if f.server, err = cdc.InspectServer(ctx, conn); err != nil {
		return nil, err
	}
	f.restart = f.server.WALLevel != "logical" && restartPending(ctx, conn)
	if f.publication, err = cdc.PublicationStatus(ctx, conn, s.cfg.Source.Publication, s.tables); err != nil {
		return nil, err
	}
	if f.role, err = lookUpRole(ctx, conn, s.role); err != nil {
		return nil, err
	}
	if s.cfg.Outbox.URL == "" {
		if f.schema, err = schemaExists(ctx, conn, s.cfg.Outbox.Schema); err != nil {
			return nil, err
		}
	}
	if f.catalog, err = cdc.ReadCatalog(ctx, conn, s.tables); err != nil {
		return nil, err
	}
	if f.filtered, err = rowSecurity(ctx, conn, s.role, s.tables); err != nil {
		return nil, err
	}
	f.grants, err = s.missingGrants(ctx, conn, f.role, f.catalog)
	return f, err
}

func (s *setup) printRole(f *found, database string) {
	s.line("\n-- The relay's role: it replicates, and reads the mapped columns. On Amazon RDS leave REPLICATION out and run")
	s.line("-- GRANT rds_replication TO %s.", quote(s.role))
	switch {
	case !f.role.exists:
		s.line("CREATE ROLE %s LOGIN REPLICATION;", quote(s.role))
	case !f.role.replicates:
		s.line("ALTER ROLE %s REPLICATION;", quote(s.role))
	}
	if !f.role.exists {
		s.line("-- Give it a password that is written to no file or log, in psql:  \\password %s", s.role)
	}
	if len(f.filtered) > 0 {
		s.line("-- Row-level security would hide rows of %s from it.", strings.Join(f.filtered, ", "))
		s.line("ALTER ROLE %s BYPASSRLS;", quote(s.role))
	}
	if !f.role.connects {
		s.line("GRANT CONNECT ON DATABASE %s TO %s;", quote(database), quote(s.role))
	}
}

func (s *setup) printGrants(f *found) {
	s.line("\n-- The initial copy and lookups read these columns only.")
	if f.catalog != nil {
		for _, sql := range f.grants {
			s.line("%s", sql)
		}
		if f.grants == nil {
			s.line("-- Role %s can read all of them.", s.role)
		}
		for _, p := range f.catalog.Problems() {
			if !strings.Contains(p.Fix, "GRANT") {
				s.line("-- PROBLEM: %s", p)
			}
		}
		return
	}
	for _, schema := range schemas(s.tables) {
		s.line("GRANT USAGE ON SCHEMA %s TO %s;", quote(schema), quote(s.role))
	}
	for _, t := range s.tables {
		comment := ""
		if t.Optional {
			comment = "-- "
		}
		// A column of an optional table is commented out with its table.
		if sql := grantColumns(s.role, t, true, func(i int) bool { return !t.Columns[i].Optional }); sql != "" {
			s.line("%s%s", comment, sql)
		}
		for i := range t.Columns { // separately: a database may have some of them
			if t.Columns[i].Optional {
				s.line("-- %s", grantColumns(s.role, t, false, func(j int) bool { return j == i }))
			}
		}
	}
}

func (s *setup) printPublication(f *found) {
	s.line("\n-- The publication lists the mapped tables by name. Never FOR ALL TABLES, no column lists, no row filters: each of them")
	s.line("-- can make the application's own UPDATE and DELETE, or its migrations, fail.")
	p := f.publication
	if f.catalog == nil {
		maybe := optional(s.tables)
		p.Missing = slices.DeleteFunc(slices.Clone(s.tables), func(t *cdc.Table) bool { return t.Optional })
		for _, sql := range p.SQL() {
			s.line("%s", sql)
		}
		for _, t := range maybe {
			s.line("-- ALTER PUBLICATION %s ADD TABLE ONLY %s;", quote(p.Name), quote(t.Schema, t.Name))
		}
		return
	}
	sql := p.SQL()
	if len(sql) == 0 {
		s.line("-- Publication %s has all mapped tables.", p.Name)
	}
	for _, problem := range p.Problems() {
		s.line("-- PROBLEM: %s", problem)
	}
	comment := ""
	if len(f.harmful()) > 0 {
		s.line("-- Solve the problems above before you run this: statements of the application could fail.")
		comment = "-- "
	}
	for _, statement := range sql {
		s.line("%s%s", comment, statement)
	}
	for _, w := range f.warnings() {
		s.line("-- WARNING: %s", w)
	}
}

// printOutbox creates the schema for the role, which then needs no right to create anything.
func (s *setup) printOutbox(f *found) {
	schema, comment := s.cfg.Outbox.Schema, ""
	if f.schema {
		s.line("\n-- Schema %s, for the relay's own tables, exists.", schema)
		return
	}
	s.line("\n-- The schema for the relay's own tables. It needs CREATE on the database.")
	role := s.role
	if s.cfg.Outbox.URL != "" {
		comment = "-- "
		var database string
		role, database = account(s.cfg.Outbox.URL)
		s.line("-- Run this in the outbox's database, %s:", database)
	}
	s.line("%s%s", comment, outbox.SchemaSQL(schema, role))
}
