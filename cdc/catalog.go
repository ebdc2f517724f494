package cdc

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Catalog describes the mapped tables as they exist in the database.
type Catalog struct {
	tables      []*tableDescription
	domains     map[uint32]uint32    // domain → its base type, which may be a domain too
	typeClasses map[uint32]typeClass // of types whose OIDs differ between databases
}

// ReadCatalog reads the mapped tables from the catalog. Missing tables and columns are not an error, see Problems. The error is
// ErrCatalogChanged if something was dropped while it was read.
func ReadCatalog(ctx context.Context, conn *pgx.Conn, tables []*Table) (*Catalog, error) {
	c := &Catalog{domains: map[uint32]uint32{}, typeClasses: map[uint32]typeClass{}}
	for _, table := range tables {
		c.tables = append(c.tables, &tableDescription{table: table, columns: map[string]column{}})
	}
	if err := c.readTables(ctx, conn, tables); err != nil {
		return nil, fmt.Errorf("look up the mapped tables: %w", err)
	}
	if err := c.readColumns(ctx, conn, tables); err != nil {
		return nil, fmt.Errorf("look up the columns of the mapped tables: %w", err)
	}
	if err := c.readUniqueIndexes(ctx, conn, tables); err != nil {
		return nil, fmt.Errorf("look up the unique indexes of the mapped tables: %w", err)
	}
	if err := c.readTypes(ctx, conn); err != nil {
		return nil, fmt.Errorf("look up the types: %w", err)
	}
	for _, d := range c.tables {
		c.checkReferences(d)
	}
	for _, d := range c.tables {
		c.decideAvailability(d)
	}
	return c, nil
}

// decideAvailability decides which parts of a table count as present.
func (c *Catalog) decideAvailability(d *tableDescription) {
	d.withheld = d.findWithheld()
	d.relation = c.newRelation(d)
}

func (c *Catalog) newRelation(d *tableDescription) *Relation {
	if !d.exists || d.absent() {
		return nil
	}
	types := make([]uint32, len(d.table.Columns))
	for i := range types {
		if col, ok := d.columns[d.table.Columns[i].Name]; ok && !d.masksColumn(i) {
			types[i] = c.baseType(col.typeOID)
		}
	}
	return &Relation{Table: d.table, Types: types, CanonicalForms: c.canonicalForms(d.table, types)}
}

// baseType resolves a domain, or a domain over domains, to its base type. It returns any other type unchanged, and every type
// if c is nil.
func (c *Catalog) baseType(oid uint32) uint32 {
	if c == nil {
		return oid
	}
	for range len(c.domains) {
		base, ok := c.domains[oid]
		if !ok {
			break
		}
		oid = base
	}
	return oid
}

// Relation returns the table as the relay can read it now, or nil if it is missing or counts as absent.
func (c *Catalog) Relation(t *Table) *Relation {
	if d := c.description(t); d != nil {
		return d.relation
	}
	return nil
}

func (c *Catalog) description(t *Table) *tableDescription {
	for _, d := range c.tables {
		if d.table == t {
			return d
		}
	}
	return nil
}
