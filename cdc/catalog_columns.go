package cdc

import (
	"fmt"
	"strings"
)

// Exists reports whether the database has the table, even if the role cannot read it.
func (c *Catalog) Exists(t *Table) bool {
	d := c.description(t)
	return d != nil && d.exists
}

// HasColumn reports whether the table has the mapped column, even if the role cannot read it. A generated column does not
// count, because the WAL does not contain it.
func (c *Catalog) HasColumn(t *Table, column int) bool {
	d := c.description(t)
	if d == nil {
		return false
	}
	have, ok := d.columns[t.Columns[column].Name]
	return ok && !have.generated
}

// OID returns the OID of the table; 0 if it is missing or counts as absent.
func (c *Catalog) OID(t *Table) uint32 {
	if d := c.description(t); d != nil && d.relation != nil {
		return d.oid
	}
	return 0
}

// AddedDefault returns the value that a column has in rows written before it was added: the constant of ADD COLUMN … DEFAULT,
// or NULL.
func (c *Catalog) AddedDefault(t *Table, column int) Value {
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
	if err != nil { // not a valid value of the type, so no row has it
		return NullValue
	}
	return TextValue(string(hashed))
}

// Signature describes which relation each mapped table is, and which of its columns can be read. A replication session has to
// restart if the signature changes.
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
