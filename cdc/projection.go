package cdc

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pglogrepl"
)

// projection turns the tuples of a relation, as the WAL last described it, into rows of its Table.
type projection struct {
	relation *Relation
	// target is the index in Table.Columns of each column of the WAL, or -1 for one that must not leave this package.
	target []int
	// identity marks the columns that an old tuple with the key only contains.
	identity []bool
	// broken is set if the relation does not fit the mapping. It is an error only once a change of the relation has to be read.
	broken *SchemaError
	// unidentified is set if the WAL does not identify the row of an UPDATE or DELETE.
	unidentified *SchemaError
}

// project matches the columns of a relation with those of its table. old is the relation's previous projection, or nil.
func project(m *pglogrepl.RelationMessage, table *Table, catalog *Catalog, old *projection) *projection {
	p := &projection{
		target:   make([]int, len(m.Columns)),
		identity: make([]bool, len(m.Columns)),
	}
	types := make([]uint32, len(table.Columns))
	inIdentity := make([]bool, len(table.Columns))
	seen := make([]bool, len(table.Columns))
	for i, column := range m.Columns {
		p.identity[i] = column.Flags&1 != 0
		if p.target[i] = table.Index(column.Name); p.target[i] >= 0 && catalog.masks(table, p.target[i]) {
			p.target[i] = -1
		}
		if at := p.target[i]; at >= 0 {
			types[at] = catalog.baseType(column.DataType)
			inIdentity[at], seen[at] = p.identity[i], true
		}
	}
	for i, column := range table.Columns {
		switch {
		case !seen[i] && (!column.Optional || i < table.KeyColumns):
			p.broken = &SchemaError{
				Table: qualifiedName(table), Column: column.Name,
				Reason: "the column was dropped or renamed, or is missing from the publication's column list; adapt the mapping to the new schema; for older WAL that does not fit it, run iam-relay reconcile --skip-wal, which emits the net differences",
			}
		case i < table.KeyColumns && !inIdentity[i]:
			// This is temporary if a migration replaces the key. INSERT and TRUNCATE need no replica identity.
			p.unidentified = &SchemaError{
				Table: qualifiedName(table), Column: column.Name,
				Reason: fmt.Sprintf("an UPDATE or DELETE was written while the replica identity (%q) did not include the key column, so the WAL does not identify the row; "+
					"add a primary key that includes the column, then run iam-relay reconcile --skip-wal to resynchronize the tables without reading this part of the WAL", identityNames[string(m.ReplicaIdentity)]),
			}
		}
		if p.broken != nil {
			break
		}
	}
	p.relation = &Relation{Table: table, Types: types, CanonicalForms: catalog.canonicalForms(table, types)}
	// The server describes a relation again after every change of its catalog rows. Consumers compare pointers.
	if old != nil && old.relation.Table == table && slices.Equal(old.relation.Types, types) && slices.Equal(old.relation.CanonicalForms, p.relation.CanonicalForms) {
		p.relation = old.relation
	}
	return p
}

var errTruncated = errors.New("truncated message")
