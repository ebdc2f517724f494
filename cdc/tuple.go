package cdc

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/jackc/pglogrepl"
)

// cell is one value of a tuple. text shares the memory of the message.
type cell struct {
	kind Kind
	text []byte
}

// tuple decodes the tuple at the start of src and returns what follows it. With keyOnly, only the columns of the replica
// identity have values; the others, which the server sends as NULL, become Absent. cells is scratch space for
// len(Table.Columns) values.
//
// It does not use pglogrepl, which would copy every column, including those that must not leave this package. This is the hot
// path of reading the WAL. https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
func (p *projection) tuple(e *encoding, src []byte, keyOnly bool, cells []cell) (_ Row, rest []byte, err error) {
	if len(src) < 2 {
		return nil, nil, errTruncated
	}
	count := int(binary.BigEndian.Uint16(src))
	if count != len(p.target) {
		return nil, nil, fmt.Errorf("the tuple has %d columns, its relation has %d", count, len(p.target))
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

// sharedText is up to what size, in bytes, a text stays in memory as a whole for each of its parts.
const sharedText = 4 << 10

// detach returns part, which is a part of a text of the given size. A small part of a large text is copied: a key that is kept
// must not keep the row that it was read with in memory.
func detach(part string, size int) string {
	if size > sharedText && len(part) < size/4 {
		return strings.Clone(part)
	}
	return part
}

// row copies cells into a Row, in canonical forms and with hashes in place of values where the mapping asks for them. Small
// texts share one string. size is the length of all texts in bytes.
func (r *Relation) row(cells []cell, size int) (Row, error) {
	if size > MaxRowBytes {
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
	return fmt.Errorf("the mapped values of a row have %d bytes, of which column %s has %d, more than the limit of %d; remove the column from the mapping and restart; no change is skipped",
		size, r.Columns[largest].Name, len(cells[largest].text), MaxRowBytes)
}
