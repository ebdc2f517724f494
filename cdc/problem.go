package cdc

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Problem is something about a table that the relay cannot work with.
type Problem struct {
	Table  string // schema.name
	Column string // empty if the table as a whole is meant
	Text   string // what is wrong
	Fix    string // what to do about it
}

func (p Problem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("table %s: %s; %s", p.Table, p.Text, p.Fix)
	}
	return fmt.Sprintf("table %s, column %s: %s; %s", p.Table, p.Column, p.Text, p.Fix)
}

// Problems lists what stands in the way, in the order of the tables. What is optional is never a problem: see Withheld.
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
	name := d.table.Schema + "." + d.table.Name
	quoted := quoteTable(d.table)
	table := func(text, fix string) []Problem { return []Problem{{Table: name, Text: text, Fix: fix}} }
	switch {
	case !d.exists && d.table.Optional:
		return nil
	case !d.exists:
		return table("it does not exist", "correct the mapping's schema and table names, or mark the table optional")
	case d.kind != kindTable:
		return table("it is no ordinary table", "map the tables that hold the rows: views, foreign and partitioned tables are not read")
	case d.persistence != persistencePermanent:
		return table("it is unlogged or temporary, so its changes are not in the log", fmt.Sprintf("ALTER TABLE %s SET LOGGED", quoted))
	}
	var problems []Problem
	add := func(column, text, fix string) {
		problems = append(problems, Problem{Table: name, Column: column, Text: text, Fix: fix})
	}
	if !d.schemaUsage {
		add("", "the role may not use its schema", fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO the relay's role", pgx.Identifier{d.table.Schema}.Sanitize()))
	}
	var unreadable, unkeyed []string
	for i, want := range d.table.Columns {
		key := i < d.table.KeyColumns
		have, ok := d.columns[want.Name]
		switch {
		case !ok && want.Optional && !key:
		case !ok:
			add(want.Name, "it does not exist", "correct the mapping, or mark the column optional")
		case have.generated && !(want.Optional && !key):
			add(want.Name, "it is generated, and generated columns are not in the log", "map the columns that it is made of")
		default:
			if have.unpublished && !d.masksColumn(i) {
				add(want.Name, "the column list of the publication leaves it out", fmt.Sprintf("take the table out of the publication and add it without a list: ALTER PUBLICATION … DROP TABLE %s, then ADD TABLE ONLY %s", quoted, quoted))
			}
			if !have.readable && !d.masksColumn(i) {
				unreadable = append(unreadable, pgx.Identifier{want.Name}.Sanitize())
			}
			if have.incomparable != "" && !d.masksColumn(i) {
				add(want.Name, have.incomparable, have.fix)
			}
			if key && !have.inIdentity {
				unkeyed = append(unkeyed, want.Name)
			}
			if key && have.inIdentity && have.nullable {
				add(want.Name, "it is a key column and may be NULL, and a row without a key cannot be told from others",
					fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL, or map another key", quoted, pgx.Identifier{want.Name}.Sanitize()))
			}
		}
	}
	if !d.ctidReadable {
		unreadable = append(unreadable, pgx.Identifier{PlaceColumn}.Sanitize())
	}
	if unreadable != nil {
		columns := strings.Join(unreadable, ", ")
		add("", fmt.Sprintf("the role may not read %s, which the first copy needs", columns), fmt.Sprintf("GRANT SELECT (%s) ON %s TO the relay's role", columns, quoted))
	}
	if unkeyed != nil && d.identity == "d" && d.deferrable {
		add("", "its primary key is deferrable, which PostgreSQL does not take for a replica identity: with a publication, UPDATE and DELETE of the table fail",
			fmt.Sprintf("make the key NOT DEFERRABLE, or CREATE UNIQUE INDEX CONCURRENTLY over its columns and ALTER TABLE %s REPLICA IDENTITY USING INDEX that index", quoted))
	} else if unkeyed != nil {
		add("", fmt.Sprintf("its replica identity (%s) does not hold the key column %s, so updates and deletes cannot be told apart", identityNames[d.identity], strings.Join(unkeyed, ", ")),
			fmt.Sprintf("give it a primary key over the key columns, or, if a unique index over NOT NULL columns is there, ALTER TABLE %s REPLICA IDENTITY USING INDEX that index", quoted))
	}
	if unkeyed == nil && !d.keyed() {
		key := make([]string, d.table.KeyColumns)
		for i := range key {
			key[i] = d.table.Columns[i].Name
		}
		fix := fmt.Sprintf("give it a unique index over the key columns: CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)", quoted, strings.Join(key, ", "))
		if d.unique != nil {
			fix = fmt.Sprintf("map a key that holds all of (%s), which is unique", strings.Join(d.unique[0], ", "))
		}
		add("", fmt.Sprintf("two of its rows may have the same key (%s): no unique index has only columns of it", strings.Join(key, ", ")), fix)
	}
	return problems
}

// Warnings lists what the relay can work with, but may not be meant.
func (c *Catalog) Warnings() []Problem {
	var warnings []Problem
	for _, d := range c.tables {
		if d.relation != nil {
			warnings = append(warnings, c.referenceWarnings(d)...)
		}
		if d.exists && d.kind == kindTable && len(d.children) > 0 {
			warnings = append(warnings, Problem{
				Table: qualifiedName(d.table), Text: fmt.Sprintf("tables inherit from it (%s), and their rows are not read with it", strings.Join(d.children, ", ")),
				Fix: "map them as tables too if their rows matter",
			})
		}
	}
	return warnings
}

// fullName is the table's name as messages have it.
func qualifiedName(t *Table) string { return t.Schema + "." + t.Name }

// keyed reports whether no two rows can have the same mapped key.
func (d *tableDescription) keyed() bool {
	return slices.ContainsFunc(d.unique, func(columns []string) bool {
		return !slices.ContainsFunc(columns, func(name string) bool {
			at := d.table.Index(name)
			return at < 0 || at >= d.table.KeyColumns
		})
	})
}

// PlaceColumn is the system column that says where a row is. A role with SELECT on single columns needs it too; SELECT on the table
// includes it.
const PlaceColumn = "ctid"

var identityNames = map[string]string{"d": "DEFAULT", "i": "INDEX", identityFull: "FULL", "n": "NOTHING"}

// quote writes the table's name as SQL.
func quoteTable(t *Table) string { return pgx.Identifier{t.Schema, t.Name}.Sanitize() }
