package cdc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Problem is a property of a table or column that the relay cannot work with, and its remedy.
type Problem struct {
	Table  string // schema.name
	Column string // empty if it is about the table as a whole
	Text   string // what is wrong
	Fix    string // how to fix it
}

// notThere is the Text of a Problem with a table or column that does not exist.
const notThere = "does not exist"

// IsMissing reports whether the table or column does not exist.
func (p Problem) IsMissing() bool { return p.Text == notThere }

func (p Problem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("table %s: %s; %s", p.Table, p.Text, p.Fix)
	}
	return fmt.Sprintf("table %s, column %s: %s; %s", p.Table, p.Column, p.Text, p.Fix)
}

// Problems returns what prevents replication, in the order of the tables. Optional tables and columns are never a problem, see
// Withheld.
func (c *Catalog) Problems() []Problem {
	var problems []Problem
	for _, d := range c.tables {
		if !d.table.Optional {
			problems = append(problems, d.problems()...)
		}
	}
	return problems
}

func (d *tableDescription) problems() []Problem {
	quoted := quoteTable(d.table)
	table := func(text, fix string) []Problem {
		return []Problem{{Table: qualifiedName(d.table), Text: text, Fix: fix}}
	}
	switch {
	case !d.exists && d.table.Optional:
		return nil
	case !d.exists:
		return table(notThere, "correct the schema and table names in the mapping, or mark the table optional")
	case d.kind != kindTable:
		return table("is not an ordinary table", "map the tables that hold the rows: views, foreign tables and partitioned tables are not read")
	case d.persistence != persistencePermanent:
		return table("is unlogged or temporary, so its changes are not in the WAL", fmt.Sprintf("ALTER TABLE %s SET LOGGED", quoted))
	}
	var problems []Problem
	if !d.schemaUsage {
		problems = table("the role has no USAGE on its schema", fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO the relay's role", pgx.Identifier{d.table.Schema}.Sanitize()))
	}
	var unreadable, unidentified []string
	for i, want := range d.table.Columns {
		have, ok := d.columns[want.Name]
		problems = append(problems, d.columnProblems(i, have, ok)...)
		if !ok || have.generated {
			continue
		}
		if !have.readable && !d.masksColumn(i) {
			unreadable = append(unreadable, pgx.Identifier{want.Name}.Sanitize())
		}
		if i < d.table.KeyColumns && !have.inIdentity {
			unidentified = append(unidentified, want.Name)
		}
	}
	if !d.ctidReadable {
		unreadable = append(unreadable, pgx.Identifier{CtidColumn}.Sanitize())
	}
	if unreadable != nil {
		columns := strings.Join(unreadable, ", ")
		problems = append(problems, table(fmt.Sprintf("the role cannot read %s, which the initial copy needs", columns), fmt.Sprintf("GRANT SELECT (%s) ON %s TO the relay's role", columns, quoted))...)
	}
	text, fix := d.keyProblem(unidentified)
	if text != "" {
		problems = append(problems, table(text, fix)...)
	}
	return problems
}

// columnProblems checks the mapped column with the index; exists is false if the table does not have it.
func (d *tableDescription) columnProblems(index int, have column, exists bool) []Problem {
	want, key, quoted := d.table.Columns[index], index < d.table.KeyColumns, quoteTable(d.table)
	var problems []Problem
	add := func(text, fix string) {
		problems = append(problems, Problem{Table: qualifiedName(d.table), Column: want.Name, Text: text, Fix: fix})
	}
	if !exists || have.generated {
		switch {
		case want.Optional && !key:
		case !exists:
			add(notThere, "correct the mapping, or mark the column optional")
		default:
			add("is generated, and generated columns are not in the WAL", "map the columns that it is computed from")
		}
		return problems
	}
	if have.unpublished && !d.masksColumn(index) {
		add("is not in the column list of the publication", fmt.Sprintf("publish the table without a column list: ALTER PUBLICATION … DROP TABLE %s, then ADD TABLE ONLY %s", quoted, quoted))
	}
	if have.incomparable != "" && !d.masksColumn(index) {
		add(have.incomparable, have.fix)
	}
	if key && have.inIdentity && have.nullable {
		add("is a nullable key column, and a row without a key cannot be identified",
			fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, or map another key", quoted, pgx.Identifier{want.Name}.Sanitize()))
	}
	return problems
}

// keyProblem checks that the WAL identifies each row by the mapped key; unidentified are the key columns outside the replica
// identity.
func (d *tableDescription) keyProblem(unidentified []string) (text, fix string) {
	quoted := quoteTable(d.table)
	switch {
	case unidentified != nil && d.identity == "d" && d.deferrable:
		return "its primary key is deferrable, so PostgreSQL does not use it as replica identity: while the table is published, UPDATE and DELETE fail",
			fmt.Sprintf("make the key NOT DEFERRABLE, or run CREATE UNIQUE INDEX CONCURRENTLY on its columns and ALTER TABLE %s REPLICA IDENTITY USING INDEX with that index", quoted)
	case unidentified != nil:
		return fmt.Sprintf("its replica identity (%s) does not include the key column %s, so the WAL does not identify updated and deleted rows", identityNames[d.identity], strings.Join(unidentified, ", ")),
			fmt.Sprintf("add a primary key on the key columns, or, if there is a unique index on NOT NULL columns, run ALTER TABLE %s REPLICA IDENTITY USING INDEX with that index", quoted)
	case d.hasUniqueKey():
		return "", ""
	}
	key := make([]string, d.table.KeyColumns)
	for i := range key {
		key[i] = d.table.Columns[i].Name
	}
	fix = fmt.Sprintf("add a unique index on the key columns: CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)", quoted, strings.Join(key, ", "))
	if d.unique != nil {
		fix = fmt.Sprintf("map a key that includes all of (%s), which is unique", strings.Join(d.unique[0], ", "))
	}
	return fmt.Sprintf("two rows may have the same key (%s): no unique index consists of key columns only", strings.Join(key, ", ")), fix
}

// hasUniqueKey reports whether no two rows can have the same mapped key.
func (d *tableDescription) hasUniqueKey() bool {
	return slices.ContainsFunc(d.unique, func(columns []string) bool {
		return !slices.ContainsFunc(columns, func(name string) bool {
			index := d.table.Index(name)
			return index < 0 || index >= d.table.KeyColumns
		})
	})
}

// Warnings returns properties of the tables that the relay can work with but that may be unintended.
func (c *Catalog) Warnings() []Problem {
	var warnings []Problem
	for _, d := range c.tables {
		if d.relation != nil {
			warnings = append(warnings, c.referenceWarnings(d)...)
		}
		if d.exists && d.kind == kindTable && len(d.children) > 0 {
			warnings = append(warnings, Problem{
				Table: qualifiedName(d.table), Text: fmt.Sprintf("tables inherit from it (%s), and their rows are not read", strings.Join(d.children, ", ")),
				Fix: "map those tables as well if their rows matter",
			})
		}
	}
	return warnings
}

// CtidColumn is the system column with a row's physical location. SELECT on the table includes it; a role with SELECT on
// single columns needs it as well. https://www.postgresql.org/docs/current/ddl-system-columns.html
const CtidColumn = "ctid"

// identityNames are the replica identities by relreplident.
var identityNames = map[string]string{"d": "DEFAULT", "i": "INDEX", identityFull: "FULL", "n": "NOTHING"}
