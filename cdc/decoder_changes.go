package cdc

import (
	"encoding/binary"
	"errors"

	"github.com/jackc/pglogrepl"
)

// rowChange decodes an INSERT, UPDATE or DELETE.
func (d *decoder) rowChange(at LSN, data []byte) error {
	if d.begin == nil {
		return errors.New("a row change outside a transaction")
	}
	if len(data) < 6 {
		return errTruncated
	}
	if d.spool == nil {
		return d.skippedChange(binary.BigEndian.Uint32(data[1:]))
	}
	p, known, err := d.relation(binary.BigEndian.Uint32(data[1:]))
	switch {
	case err != nil:
		return err
	case !known:
		return errors.New("a row change of an unknown relation")
	case p == nil:
		return nil
	}
	if err := d.change(p, at, data); err != nil {
		if _, ok := errors.AsType[*SchemaError](err); ok || errors.Is(err, ErrSpill) {
			return err
		}
		return &DecodeError{LSN: at, Table: qualifiedName(p.relation.Table), Err: err}
	}
	return nil
}

func (d *decoder) change(p *projection, at LSN, data []byte) error {
	if p.broken != nil {
		return p.broken.at(at)
	}
	if p.unidentified != nil && pglogrepl.MessageType(data[0]) != pglogrepl.MessageTypeInsert {
		return p.unidentified.at(at)
	}
	var before, after Row
	var full bool
	var err error
	rest := data[5:]
	if kind := rest[0]; kind == pglogrepl.UpdateMessageTupleTypeKey || kind == pglogrepl.UpdateMessageTupleTypeOld {
		full = kind == pglogrepl.UpdateMessageTupleTypeOld
		if before, rest, err = p.tuple(d.encoding, rest[1:], !full, d.cells[:len(p.relation.Columns)]); err != nil {
			return err
		}
	}
	if len(rest) > 0 && rest[0] == pglogrepl.UpdateMessageTupleTypeNew {
		if after, rest, err = p.tuple(d.encoding, rest[1:], false, d.cells[:len(p.relation.Columns)]); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return errors.New("unexpected bytes after the tuples")
	}
	switch op := pglogrepl.MessageType(data[0]); {
	case op == pglogrepl.MessageTypeInsert && before == nil && after != nil:
		return d.insert(p.relation, after)
	case op == pglogrepl.MessageTypeUpdate && after != nil:
		return d.update(p.relation, before, after, full)
	case op == pglogrepl.MessageTypeDelete && before != nil && after == nil:
		return d.delete(p.relation, before, full)
	}
	return errors.New("a row change has a missing or an extra tuple")
}

func (d *decoder) insert(r *Relation, after Row) error {
	key, err := r.KeyOf(after)
	if err != nil {
		return err
	}
	return d.add(Change{Op: Insert, Relation: r, Key: key, New: after})
}

// update adds the change; an UPDATE of the key becomes two changes.
func (d *decoder) update(r *Relation, before, after Row, full bool) error {
	if before == nil {
		key, err := r.KeyOf(after)
		if err != nil {
			return err
		}
		return d.add(Change{Op: Update, Relation: r, Key: key, New: after})
	}
	oldKey, err := r.KeyOf(before)
	if err != nil {
		return err
	}
	// The old row has the unchanged values that the new one lacks: those of the key, or all of them if it is full.
	for i := range after {
		if after[i].Kind == Unchanged && before[i].Known() {
			after[i] = before[i]
		}
	}
	key, err := r.KeyOf(after)
	if err != nil {
		return err
	}
	if !full {
		before = nil
	}
	if key == oldKey {
		return d.add(Change{Op: Update, Relation: r, Key: key, New: after, Old: before})
	}
	if err := d.add(Change{Op: Delete, Relation: r, Key: oldKey, Old: before}); err != nil {
		return err
	}
	return d.add(Change{Op: Insert, Relation: r, Key: key, New: after, Moved: true, OldKey: oldKey})
}

func (d *decoder) delete(r *Relation, before Row, full bool) error {
	key, err := r.KeyOf(before)
	if err != nil {
		return err
	}
	if !full {
		before = nil
	}
	return d.add(Change{Op: Delete, Relation: r, Key: key, Old: before})
}

func (d *decoder) truncate(at LSN, m *pglogrepl.TruncateMessage) error {
	if d.begin == nil {
		return errors.New("a truncation outside a transaction")
	}
	if d.spool == nil {
		for _, id := range m.RelationIDs {
			if err := d.skippedChange(id); err != nil {
				return err
			}
		}
		return nil
	}
	for _, id := range m.RelationIDs {
		p, known, err := d.relation(id)
		switch {
		case err != nil:
			return err
		case !known:
			return errors.New("a truncation of an unknown relation")
		case p == nil:
			continue
		}
		if p.broken != nil {
			return p.broken.at(at)
		}
		if err := d.add(Change{Op: Truncate, Relation: p.relation}); err != nil {
			return err
		}
	}
	return nil
}

func (d *decoder) add(c Change) error {
	c.Seq = d.seq
	d.seq++
	return d.spool.Add(c)
}
