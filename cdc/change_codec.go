package cdc

import (
	"encoding/binary"
	"fmt"
)

// The format of a change in a temporary file, which only the process that wrote it reads:
//
//	op, moved, uvarint relation, string key, string from, row new, row old
//
// A change is preceded by its Seq and Sub, so that a merge can order changes without decoding them. A string is its length and
// bytes. A row is 0 for nil, else its length+1 and values. A value is its kind, followed by a string if the kind is Text.

var errSpillFormat = fmt.Errorf("%w: it contains a damaged change", ErrSpill)

func appendChange(dst []byte, c *Change, relation int) []byte {
	moved := byte(0)
	if c.Moved {
		moved = 1
	}
	dst = append(dst, byte(c.Op), moved)
	dst = binary.AppendUvarint(dst, uint64(relation))
	dst = appendString(dst, string(c.Key))
	dst = appendString(dst, string(c.OldKey))
	dst = appendRow(dst, c.New)
	return appendRow(dst, c.Old)
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendRow(dst []byte, row Row) []byte {
	if row == nil {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(dst, uint64(len(row))+1)
	for i := range row {
		dst = append(dst, byte(row[i].Kind))
		if row[i].Kind == Text {
			dst = appendString(dst, row[i].Text)
		}
	}
	return dst
}

// changeReader decodes a change. If text is small, the strings of the change share its memory.
type changeReader struct {
	text    string
	size    int // of the whole text, in bytes
	damaged bool
}

func readChange(at ordinal, text string, relations []*Relation) (Change, error) {
	r := changeReader{text: text, size: len(text)}
	c := Change{Seq: at.seq, Sub: at.sub, Op: Op(r.byte()), Moved: r.byte() == 1}
	if relation := r.number(); relation < uint64(len(relations)) {
		c.Relation = relations[relation]
	} else {
		r.damaged = true
	}
	c.Key, c.OldKey = Key(r.string()), Key(r.string())
	c.New, c.Old = r.row(), r.row()
	if r.damaged || r.text != "" {
		return Change{}, errSpillFormat
	}
	return c, nil
}

// readKey decodes only the key of a change.
func readKey(text string) (Key, error) {
	r := changeReader{text: text, size: len(text)}
	r.byte()
	r.byte()
	r.number()
	key := Key(r.string())
	if r.damaged {
		return "", errSpillFormat
	}
	return key, nil
}

func (r *changeReader) byte() byte {
	if r.text == "" {
		r.damaged = true
		return 0
	}
	b := r.text[0]
	r.text = r.text[1:]
	return b
}

func (r *changeReader) number() uint64 {
	var n uint64
	for shift := 0; shift < 64; shift += 7 {
		b := r.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	r.damaged = true
	return 0
}

func (r *changeReader) string() string {
	n := r.number()
	if n > uint64(len(r.text)) {
		r.damaged = true
		return ""
	}
	s := detach(r.text[:n], r.size)
	r.text = r.text[n:]
	return s
}

func (r *changeReader) row() Row {
	n := r.number()
	// Each value takes at least one byte.
	if n == 0 || n-1 > uint64(len(r.text)) {
		r.damaged = r.damaged || n != 0
		return nil
	}
	row := make(Row, n-1)
	for i := range row {
		row[i].Kind = Kind(r.byte())
		if row[i].Kind == Text {
			row[i].Text = r.string()
		}
	}
	return row
}
