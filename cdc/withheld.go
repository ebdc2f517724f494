package cdc

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Withheld lists the optional tables and columns that exist and still count as absent, because the role may not read them, or
// because their changes are not in the WAL. An upgrade of the application may add such a table at any time, so that must not
// end a relay that works.
func (c *Catalog) Withheld() []Problem {
	var all []Problem
	for _, d := range c.tables {
		all = append(all, d.withheld...)
	}
	return all
}

// Withhold makes an optional table count as absent.
func (c *Catalog) Withhold(t *Table, text, fix string) {
	for _, d := range c.tables {
		if d.table == t && d.table.Optional {
			d.withheld = []Problem{{Table: t.Schema + "." + t.Name, Text: text, Fix: fix}}
			d.relation = nil
		}
	}
}

// Usable are the given tables without the optional ones that count as absent although they exist.
func (c *Catalog) Usable(tables []*Table) []*Table {
	return slices.DeleteFunc(slices.Clone(tables), func(t *Table) bool {
		d := c.description(t)
		return d != nil && d.absent()
	})
}

// Exists reports whether the database has the table, whether or not the role may read it.
func (c *Catalog) Exists(t *Table) bool {
	d := c.description(t)
	return d != nil && d.exists
}

// HasColumn reports whether the table has the mapped column, whether or not the role may read it. A generated column does not
// count: the WAL does not have it.
func (c *Catalog) HasColumn(t *Table, column int) bool {
	d := c.description(t)
	if d == nil {
		return false
	}
	have, ok := d.columns[t.Columns[column].Name]
	return ok && !have.generated
}

func (c *Catalog) description(t *Table) *tableDescription {
	for _, d := range c.tables {
		if d.table == t {
			return d
		}
	}
	return nil
}

// absent reports whether the table as a whole is withheld.
func (d *tableDescription) absent() bool {
	return slices.ContainsFunc(d.withheld, func(p Problem) bool { return p.Column == "" })
}

// masked reports whether a column that the table has counts as absent: what the WAL carries of it is not read either.
func (d *tableDescription) masksColumn(i int) bool {
	want := d.table.Columns[i]
	have, ok := d.columns[want.Name]
	if !ok {
		return false
	}
	return have.generated || want.Optional && i >= d.table.KeyColumns && (!have.readable || have.unpublished || have.incomparable != "")
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
		p := Problem{Table: d.table.Schema + "." + d.table.Name, Column: want.Name}
		if have.incomparable != "" {
			p.Text, p.Fix = have.incomparable, have.fix
		} else if have.unpublished {
			p.Text, p.Fix = "the column list of the publication leaves it out", "take the table out of the publication and add it without a list"
		} else {
			p.Text = "the role may not read it"
			p.Fix = fmt.Sprintf("GRANT SELECT (%s) ON %s TO the relay's role", pgx.Identifier{want.Name}.Sanitize(), quoteTable(d.table))
		}
		withheld = append(withheld, p)
	}
	return withheld
}

// The column list (PostgreSQL 15 and newer) is read by way of JSON.
const unlisted = `
SELECT n.nspname, c.relname, a.attname
FROM pg_publication p
JOIN pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_class c ON c.oid = r.prrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE p.pubname = $1 AND to_jsonb(r)->>'prattrs' IS NOT NULL
  AND a.attnum::text <> ALL (regexp_split_to_array(trim(BOTH '[]' FROM to_jsonb(r)->>'prattrs'), '[ ,]+'))`

// Narrow notes which mapped columns the publication leaves out by a column list.
func (c *Catalog) Narrow(ctx context.Context, conn *pgx.Conn, publication string) error {
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

// Missing is what the column held in rows that were written before it was added: the constant that ADD COLUMN … DEFAULT gave, or NULL.
func (c *Catalog) Missing(t *Table, column int) Value {
	d := c.description(t)
	if d == nil {
		return NullValue
	}
	have := d.columns[t.Columns[column].Name]
	switch {
	case have.addedDefault == nil:
		return NullValue
	case !t.Columns[column].Hash:
		return TextValue(string(c.canonicalForm(t, column, c.baseType(have.typeOID)).write(have.addedDefault)))
	}
	hashed, err := appendHash(nil, c.baseType(have.typeOID), have.addedDefault)
	if err != nil { // not a value of the type, so no row has it
		return NullValue
	}
	return TextValue(string(hashed))
}

// Signature says what of each mapped table can be read: which relation it is, and which of its columns. Two signatures differ
// if a session that began with one must begin again.
func (c *Catalog) Signature() string {
	var b strings.Builder
	for _, d := range c.tables {
		fmt.Fprintf(&b, "%s.%s", d.table.Schema, d.table.Name)
		if d.relation != nil {
			fmt.Fprintf(&b, " %d", d.oid)
			for i, oid := range d.relation.Types {
				if oid != 0 {
					fmt.Fprintf(&b, " %s %s", d.table.Columns[i].Name, d.columns[d.table.Columns[i].Name].incomparable)
				}
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// OID is the relation that has the table's name, 0 if there is none or if it counts as absent.
func (c *Catalog) OID(t *Table) uint32 {
	if d := c.description(t); d != nil && d.relation != nil {
		return d.oid
	}
	return 0
}
