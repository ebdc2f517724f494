package cdc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jackc/pglogrepl"
)

// decoder assembles transactions from pgoutput messages of protocol version 1. The server sends committed transactions only,
// whole and in commit order. Apart from spilling large transactions, it does no I/O.
type decoder struct {
	matcher  *relationMatcher
	encoding *encoding // of the texts in the messages
	// from: transactions that commit before it are durable and skipped.
	from     LSN
	newSpool func() *Spool
	history  *historyCheck // nil if there is nothing to check
	// mapped: the current transaction changes a mapped table. mark is the last transaction that did.
	mapped bool
	mark   *HistoryMark

	relations map[uint32]*loggedRelation // by OID
	begin     *pglogrepl.BeginMessage    // nil between transactions
	origin    string
	spool     *Spool // nil in a transaction that is skipped
	seq       int
	cells     []cell
}

func newDecoder(tables []*Table, catalog *Catalog, from LSN, newSpool func() *Spool) *decoder {
	d := &decoder{
		matcher: newRelationMatcher(tables, catalog, nil, nil), encoding: encodingNamed(utf8Name), from: from, newSpool: newSpool,
		relations: map[uint32]*loggedRelation{},
	}
	widest := 0
	for _, table := range tables {
		widest = max(widest, len(table.Columns))
	}
	d.cells = make([]cell, widest)
	return d
}

// inTransaction reports whether a transaction has begun and not ended yet.
func (d *decoder) inTransaction() bool { return d.begin != nil }

// close discards an unfinished transaction.
func (d *decoder) close() error {
	spool := d.spool
	d.begin, d.spool = nil, nil
	if spool == nil {
		return nil
	}
	return spool.Close()
}

// decode handles one message. With the message that ends a transaction it returns that transaction, which may be empty.
func (d *decoder) decode(at LSN, data []byte) (*Transaction, error) {
	t, err := d.message(at, data)
	if err == nil || errors.Is(err, ErrSpill) {
		return t, err
	}
	if _, ok := errors.AsType[*SchemaError](err); ok {
		return nil, err
	}
	if _, ok := errors.AsType[*AlteredError](err); ok {
		return nil, err
	}
	if _, ok := errors.AsType[*PositionError](err); ok {
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
		return nil, d.rowChange(at, data)
	case pglogrepl.MessageTypeTruncate:
		// The parser allocates as many relations as the message claims to have.
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
		d.describe(m)
	case *pglogrepl.OriginMessage:
		d.origin = d.encoding.identifierName(m.Name)
	case *pglogrepl.TruncateMessage:
		return nil, d.truncate(at, m)
	case *pglogrepl.TypeMessage, *pglogrepl.LogicalDecodingMessage:
		// The OID of a type is enough, and logical decoding messages of applications are ignored.
	default:
		return nil, fmt.Errorf("unexpected message %s", message.Type())
	}
	return nil, nil
}

// parse is pglogrepl.Parse, but returns an error where that panics on truncated input.
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
		return fmt.Errorf("a transaction begins inside transaction %d", d.begin.Xid)
	}
	if err := d.history.begin(m); err != nil {
		return err
	}
	d.begin, d.origin, d.seq, d.mapped = m, "", 0, false
	if LSN(m.FinalLSN) >= d.from {
		d.spool = d.newSpool()
	}
	return nil
}

func (d *decoder) commit(m *pglogrepl.CommitMessage) (*Transaction, error) {
	begin, spool := d.begin, d.spool
	if begin == nil {
		return nil, errors.New("a commit without a begin")
	}
	if begin.FinalLSN != m.CommitLSN {
		return nil, fmt.Errorf("the transaction announced for %s commits at %s", begin.FinalLSN, m.CommitLSN)
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
	if d.mapped {
		d.mark = t.Mark()
	}
	return t, nil
}
