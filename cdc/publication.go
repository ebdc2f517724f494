package cdc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Publication is the state of a publication in relation to the mapped tables.
type Publication struct {
	Name   string
	Exists bool
	Owner  string // role
	// AllTables: it publishes every table, including those without a key, whose UPDATE and DELETE then fail.
	AllTables bool
	// Schemas are the schemas that it publishes as a whole.
	Schemas []string
	// Missing are the mapped tables that exist but are not published.
	Missing []*Table
	// Extra are the published tables (schema.name) that are neither mapped nor descendants of a mapped table, sorted.
	Extra []string
	// Descendants are the published inheritance children of mapped tables that are not mapped themselves (schema.name), sorted.
	// A table that is published without ONLY brings them along.
	Descendants []string
	// Unwanted are the Descendants whose UPDATE and DELETE the server rejects because of the publication.
	Unwanted []string
	// Hidden are the mapped partitions (schema.name) whose changes are published under the name of a partitioned table, sorted.
	Hidden []string
	// ColumnLists and RowFilters are the published tables (schema.name) that have one, sorted.
	ColumnLists, RowFilters []string
	// Refused says of mapped tables (schema.name) why the server rejects UPDATE and DELETE of the application because of the
	// publication, or would if it contained them.
	Refused []string
	// Unpublished are the operations that it does not publish, of insert, update, delete and truncate.
	Unpublished []string
}

// SQL returns the statements that correct the publication, for the owner of the tables; nil if nothing has to be done. Tables
// are listed by name and with ONLY, without column lists and row filters, because each of the alternatives can make statements
// or migrations of the application fail. Extra tables are left alone, as are harmless descendants.
func (p Publication) SQL() []string {
	name := pgx.Identifier{p.Name}.Sanitize()
	names := make([]string, len(p.Missing))
	for i, t := range p.Missing {
		names[i] = "ONLY " + quoteTable(t)
	}
	list := strings.Join(names, ", ")
	var sql []string
	for _, table := range p.Unwanted {
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE ONLY %s;", name, quoteQualified(table)))
	}
	switch {
	case p.Exists && list != "":
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s ADD TABLE %s;", name, list))
	case !p.Exists && list != "":
		sql = append(sql, fmt.Sprintf("CREATE PUBLICATION %s FOR TABLE %s;", name, list))
	case !p.Exists:
		sql = append(sql, fmt.Sprintf("CREATE PUBLICATION %s;", name))
	}
	if len(p.Unpublished) > 0 {
		sql = append(sql, fmt.Sprintf("ALTER PUBLICATION %s SET (publish = 'insert, update, delete, truncate');", name))
	}
	return sql
}

// RunAs describes who is allowed to run SQL. The owner of the tables cannot alter a publication that another role owns.
func (p Publication) RunAs() string {
	if p.Exists {
		return fmt.Sprintf("role %s, which owns the publication,", p.Owner)
	}
	return "the owner of the tables"
}

// OptionalOnly reports whether the publication exists and lacks nothing but optional tables.
func (p Publication) OptionalOnly() bool {
	return p.Exists && len(p.Unpublished) == 0 && !slices.ContainsFunc(p.Missing, func(t *Table) bool { return !t.Optional })
}

// Problems returns what SQL does not correct, because it was configured on purpose.
func (p Publication) Problems() []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	name := pgx.Identifier{p.Name}.Sanitize()
	if p.AllTables {
		add("FOR ALL TABLES makes UPDATE and DELETE fail on every table without a primary key; run DROP PUBLICATION %s, then iam-relay setup", name)
	}
	if p.Schemas != nil {
		add("it publishes whole schemas (%s), which makes UPDATE and DELETE fail on their tables without a primary key; run ALTER PUBLICATION %s DROP TABLES IN SCHEMA for each", strings.Join(p.Schemas, ", "), name)
	}
	if p.RowFilters != nil {
		add("row filters on %s hide changes; remove these tables from the publication and add them without a row filter", strings.Join(p.RowFilters, ", "))
	}
	if p.Hidden != nil {
		add("publish_via_partition_root is set, so changes of partitions (%s) are sent under the name of the partitioned table; run ALTER PUBLICATION %s SET (publish_via_partition_root = false)", strings.Join(p.Hidden, ", "), name)
	}
	for _, reason := range p.Refused {
		add("it makes UPDATE and DELETE of the application fail on %s", reason)
	}
	return problems
}
