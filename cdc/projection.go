package cdc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pglogrepl"
)

// projection turns the tuples of one relation, as the log last described it, into rows of its Table.
type projection struct {
	relation *Relation
	// target is, for each column of the log, its place in Table.Columns, or -1 for one that must not leave.
	target []int
	// identity marks the columns of the log that a key-only old tuple carries.
	identity []bool
	// broken is set if the relation cannot be read. It matters only if a change of it must be.
	broken *SchemaError
	// unidentified is set if the WAL does not say which row an UPDATE or DELETE is of.
	unidentified *SchemaError
}

// project matches a relation with its table. Old, if not nil, is the relation's previous description.
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
				Table: table.Schema + "." + table.Name, Column: column.Name,
				Reason: "the column has been dropped or renamed, or the publication leaves it out; adapt the mapping to the new schema; what the log has from before and does not fit it, iam-relay reconcile --skip-log tells as net differences",
			}
		case i < table.KeyColumns && !inIdentity[i]:
			// A migration that replaces the key has it so for a while. INSERT and TRUNCATE need no identity.
			p.unidentified = &SchemaError{
				Table: table.Schema + "." + table.Name, Column: column.Name,
				Reason: fmt.Sprintf("an UPDATE or DELETE was written while the replica identity (%q) did not hold the key column, so the WAL does not say which row it changed; "+
					"give the table a primary key that holds the column, then run iam-relay reconcile --skip-log, which compares the tables instead of reading this part of the WAL", identityNames[string(m.ReplicaIdentity)]),
			}
		}
		if p.broken != nil {
			break
		}
	}
	p.relation = &Relation{Table: table, Types: types, CanonicalForms: catalog.canonicalForms(table, types)}
	// The server describes a relation again after every change of its catalogue entries. Consumers compare pointers.
	if old != nil && old.relation.Table == table && slices.Equal(old.relation.Types, types) && slices.Equal(old.relation.CanonicalForms, p.relation.CanonicalForms) {
		p.relation = old.relation
	}
	return p
}

var errTruncated = errors.New("the message is too short")

// cell is one value of a tuple: a part of the message that carries it.
type cell struct {
	kind Kind
	text []byte
}

// tuple reads one tuple from the front of src and returns what follows it. A key-only tuple carries the identity's columns;
// the others, which it gives as nulls, are absent. cells is scratch space for len(Table.Columns) values.
//
// The tuple is taken apart here and not by pglogrepl because that copies every column, also those that must not leave, and
// it does most of the work of reading the log.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
func (p *projection) tuple(e *encoding, src []byte, keyOnly bool, cells []cell) (_ Row, rest []byte, err error) {
	if len(src) < 2 {
		return nil, nil, errTruncated
	}
	count := int(binary.BigEndian.Uint16(src))
	if count != len(p.target) {
		return nil, nil, fmt.Errorf("the tuple has %d columns, its relation %d", count, len(p.target))
	}
	src = src[2:]
	clear(cells)
	size := 0
	for i, target := range p.target {
		if len(src) < 1 {
			return nil, nil, errTruncated
		}
		value := cell{}
		switch kind := src[0]; kind {
		case pglogrepl.TupleDataTypeNull:
			value.kind, src = Null, src[1:]
		case pglogrepl.TupleDataTypeToast:
			value.kind, src = Unchanged, src[1:]
		case pglogrepl.TupleDataTypeText:
			if len(src) < 5 {
				return nil, nil, errTruncated
			}
			length := int(binary.BigEndian.Uint32(src[1:]))
			if src = src[5:]; length > len(src) {
				return nil, nil, errTruncated
			}
			value.kind, value.text, src = Text, src[:length], src[length:]
		default:
			return nil, nil, fmt.Errorf("unknown kind of value %q", kind)
		}
		if target < 0 || (keyOnly && !p.identity[i]) {
			continue
		}
		value.text = e.toUTF8(value.text)
		cells[target] = value
		size += len(value.text)
	}
	row, err := p.relation.row(cells, size)
	return row, src, err
}

// sharedText is how large a text may be of which every part keeps the whole in memory.
const sharedText = 4 << 10

// detached returns a part of a text of the given size. Where that is large, a small part is a copy: a key or an ID that is kept
// must not keep the row that it was read with.
func detach(part string, size int) string {
	if size > sharedText && len(part) < size/4 {
		return strings.Clone(part)
	}
	return part
}

// row copies values into a Row whose texts share one string if they are small, and hashes those that must be hashed. size is the length of
// the texts.
func (r *Relation) row(cells []cell, size int) (Row, error) {
	if size > MaxRow {
		return nil, r.tooLarge(cells, size)
	}
	row := make(Row, len(cells))
	buffer := make([]byte, 0, 512)
	if size > cap(buffer) {
		buffer = make([]byte, 0, size)
	}
	for i, s := range r.CanonicalForms {
		if cells[i].kind == Text {
			cells[i].text = s.write(cells[i].text)
		}
	}
	for i := range cells {
		if row[i].Kind = cells[i].kind; row[i].Kind != Text {
			continue
		}
		if !r.Columns[i].Hash {
			buffer = append(buffer, cells[i].text...)
			continue
		}
		var err error
		if buffer, err = appendHash(buffer, r.Types[i], cells[i].text); err != nil {
			return nil, fmt.Errorf("column %s: %w", r.Columns[i].Name, err)
		}
	}
	texts := string(buffer)
	for i := range cells {
		if row[i].Kind != Text {
			continue
		}
		length := len(cells[i].text)
		if r.Columns[i].Hash {
			length = hashLength
		}
		row[i].Text, texts = detach(texts[:length], len(buffer)), texts[length:]
	}
	return row, nil
}

func (r *Relation) tooLarge(cells []cell, size int) error {
	largest := 0
	for i := range cells {
		if len(cells[i].text) > len(cells[largest].text) {
			largest = i
		}
	}
	return fmt.Errorf("the mapped values of a row have %d bytes, of which column %s has %d, which is more than the %d that a row may have; take the column out of the mapping and start again, nothing is skipped",
		size, r.Columns[largest].Name, len(cells[largest].text), MaxRow)
}
