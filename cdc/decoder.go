package cdc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// decoder assembles transactions from the messages of pgoutput, protocol version 1: only committed transactions come,
// whole and in commit order. It does no I/O but for transactions that spill.
type decoder struct {
	tables  map[tableName]*Table
	catalog *Catalog
	// from: transactions whose commit record is before it are durable already and are skipped.
	from     LSN
	newSpool func() *Spool

	// relations are by the relation's OID; those of foreign tables are nil.
	relations map[uint32]*projection
	begin     *pglogrepl.BeginMessage // nil between transactions
	origin    string
	spool     *Spool // nil in a transaction that is skipped
	seq       int
	cells     []cell
}

type tableName struct{ schema, name string }

func newDecoder(tables []*Table, catalog *Catalog, from LSN, newSpool func() *Spool) *decoder {
	d := &decoder{
		tables: make(map[tableName]*Table, len(tables)), catalog: catalog, from: from, newSpool: newSpool,
		relations: map[uint32]*projection{},
	}
	widest := 0
	for _, table := range tables {
		d.tables[tableName{table.Schema, table.Name}] = table
		widest = max(widest, len(table.Columns))
	}
	d.cells = make([]cell, widest)
	return d
}

// inTransaction reports whether a transaction has begun and not yet ended.
func (d *decoder) inTransaction() bool { return d.begin != nil }

// close gives up a transaction that has not ended.
func (d *decoder) close() error {
	spool := d.spool
	d.begin, d.spool = nil, nil
	if spool == nil {
		return nil
	}
	return spool.Close()
}

// decode takes one message. It returns a transaction, which may be empty, with the message that ends it.
func (d *decoder) decode(at LSN, data []byte) (*Transaction, error) {
	t, err := d.message(at, data)
	if err == nil || errors.Is(err, ErrSpill) {
		return t, err
	}
	if _, ok := errors.AsType[*SchemaError](err); ok {
		return nil, err
	}
	if _, ok := errors.AsType[*DecodeError](err); !ok {
		err = &DecodeError{LSN: at, Err: err}
	}
	return nil, err
}

func (d *decoder) message(at LSN, data []byte) (*Transaction, error) {
	if len(data) == 0 {
		return nil, errTruncated
	}
	switch pglogrepl.MessageType(data[0]) {
	case pglogrepl.MessageTypeInsert, pglogrepl.MessageTypeUpdate, pglogrepl.MessageTypeDelete:
		return nil, d.row(at, data)
	case pglogrepl.MessageTypeTruncate:
		// The parser makes room for as many relations as the message claims.
		if len(data) < 6 || uint64(binary.BigEndian.Uint32(data[1:]))*4 != uint64(len(data)-6) {
			return nil, errTruncated
		}
	}
	message, err := parse(data)
	if err != nil {
		return nil, err
	}
	switch m := message.(type) {
	case *pglogrepl.BeginMessage:
		return nil, d.start(m)
	case *pglogrepl.CommitMessage:
		return d.commit(m)
	case *pglogrepl.RelationMessage:
		if table := d.tables[tableName{m.Namespace, m.RelationName}]; table != nil {
			d.relations[m.RelationID] = project(m, table, d.catalog, d.relations[m.RelationID])
		} else {
			d.relations[m.RelationID] = renamed(m, d.relations[m.RelationID])
		}
	case *pglogrepl.OriginMessage:
		d.origin = m.Name
	case *pglogrepl.TruncateMessage:
		return nil, d.truncate(at, m)
	case *pglogrepl.TypeMessage, *pglogrepl.LogicalDecodingMessage:
		// A type's name adds nothing to its OID, and messages of applications are not ours.
	default:
		return nil, fmt.Errorf("unexpected message %s", message.Type())
	}
	return nil, nil
}

// renamed describes a relation whose name is not mapped: nil, unless it had the name of a table that cannot be missing.
func renamed(m *pglogrepl.RelationMessage, old *projection) *projection {
	if old == nil || old.relation.Optional {
		return nil
	}
	p := *old
	p.broken = &SchemaError{
		Table:  p.relation.Schema + "." + p.relation.Name,
		Reason: fmt.Sprintf("the table has been renamed to %s.%s; adapt the mapping to the new schema", m.Namespace, m.RelationName),
	}
	return &p
}

// parse turns the parser's panics on truncated input into errors.
func parse(data []byte) (m pglogrepl.Message, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed message %q: %v", data[0], r)
		}
	}()
	if m, err = pglogrepl.Parse(data); err != nil {
		return nil, fmt.Errorf("message %q: %w", data[0], err)
	}
	return m, nil
}

func (d *decoder) start(m *pglogrepl.BeginMessage) error {
	if d.begin != nil {
		return fmt.Errorf("a transaction begins within transaction %d", d.begin.Xid)
	}
	d.begin, d.origin, d.seq = m, "", 0
	if LSN(m.FinalLSN) >= d.from {
		d.spool = d.newSpool()
	}
	return nil
}

func (d *decoder) commit(m *pglogrepl.CommitMessage) (*Transaction, error) {
	begin, spool := d.begin, d.spool
	if begin == nil {
		return nil, errors.New("a transaction ends that has not begun")
	}
	if begin.FinalLSN != m.CommitLSN {
		return nil, fmt.Errorf("the transaction that was to end at %s ends at %s", begin.FinalLSN, m.CommitLSN)
	}
	d.begin, d.spool = nil, nil
	if spool == nil {
		return nil, nil
	}
	t, err := spool.Transaction()
	if err != nil {
		return nil, err
	}
	t.Commit, t.End = LSN(m.CommitLSN), LSN(m.TransactionEndLSN)
	t.Time, t.XID, t.Origin = m.CommitTime.UTC(), begin.Xid, d.origin
	return t, nil
}
