package cdc

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Withheld returns the optional tables and columns that exist but count as absent, because the role cannot read them or their
// changes are not in the WAL. An upgrade of the IAM may add such a table at any time, so it must not stop a running relay.
func (c *Catalog) Withheld() []Problem {
	var all []Problem
	for _, d := range c.tables {
		all = append(all, d.withheld...)
	}
	return all
}

// Withhold makes an optional table count as absent. It does nothing to a table that is not optional.
func (c *Catalog) Withhold(t *Table, text, fix string) {
	for _, d := range c.tables {
		if d.table == t && d.table.Optional {
			d.withheld = []Problem{{Table: qualifiedName(t), Text: text, Fix: fix}}
			d.relation = nil
		}
	}
}

// Usable returns the tables without the optional ones that exist but count as absent.
func (c *Catalog) Usable(tables []*Table) []*Table {
	return slices.DeleteFunc(slices.Clone(tables), func(t *Table) bool {
		d := c.description(t)
		return d != nil && d.absent()
	})
}

// absent reports whether the table as a whole is withheld.
func (d *tableDescription) absent() bool {
	return slices.ContainsFunc(d.withheld, func(p Problem) bool { return p.Column == "" })
}

// masksColumn reports whether an existing column counts as absent. The values that the WAL has of it are discarded.
func (d *tableDescription) masksColumn(i int) bool {
	want := d.table.Columns[i]
	have, ok := d.columns[want.Name]
	if !ok {
		return false
	}
	return have.generated || want.Optional && i >= d.table.KeyColumns && (!have.readable || have.unpublished || have.incomparable != "")
}

// masks is masksColumn for a table of the catalog.
func (c *Catalog) masks(table *Table, column int) bool {
	if c == nil {
		return false
	}
	d := c.description(table)
	return d != nil && d.exists && d.masksColumn(column)
}

func (d *tableDescription) findWithheld() []Problem {
	if !d.exists {
		return nil
	}
	if d.table.Optional {
		if problems := d.problems(); len(problems) > 0 {
			for i := range problems {
				if problems[i].Column != "" {
					problems[i].Text = "column " + problems[i].Column + ": " + problems[i].Text
				}
				problems[i].Column = ""
			}
			return problems
		}
	}
	var withheld []Problem
	for i, want := range d.table.Columns {
		have := d.columns[want.Name]
		if !d.masksColumn(i) || have.generated {
			continue
		}
		p := Problem{Table: qualifiedName(d.table), Column: want.Name}
		if have.incomparable != "" {
			p.Text, p.Fix = have.incomparable, have.fix
		} else if have.unpublished {
			p.Text, p.Fix = "is not in the column list of the publication", "remove the table from the publication and add it without a column list"
		} else {
			p.Text = "the role cannot read it"
			p.Fix = fmt.Sprintf("GRANT SELECT (%s) ON %s TO the relay's role", pgx.Identifier{want.Name}.Sanitize(), quoteTable(d.table))
		}
		withheld = append(withheld, p)
	}
	return withheld
}

// The column list (PostgreSQL 15 and newer) is read as JSON, which gives NULL where the column does not exist.
const unlisted = `
SELECT n.nspname, c.relname, a.attname
FROM pg_publication p
JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE p.pubname = $1 AND to_jsonb(r)->>'prattrs' IS NOT NULL
  AND a.attnum::text <> ALL (regexp_split_to_array(trim(BOTH '[]' FROM to_jsonb(r)->>'prattrs'), '[ ,]+'))`

// ApplyColumnLists notes which mapped columns are missing from the column list of the publication.
func (c *Catalog) ApplyColumnLists(ctx context.Context, conn *pgx.Conn, publication string) error {
	var schema, table, name string
	err := queryEach(ctx, conn, unlisted, []any{publication}, []any{&schema, &table, &name}, func() {
		for _, d := range c.tables {
			if have, ok := d.columns[name]; ok && d.table.Schema == schema && d.table.Name == table {
				have.unpublished = true
				d.columns[name] = have
			}
		}
	})
	if err != nil {
		return fmt.Errorf("read the column lists of publication %s: %w", publication, err)
	}
	for _, d := range c.tables {
		if !d.absent() {
			c.decideAvailability(d)
		}
	}
	return nil
}
