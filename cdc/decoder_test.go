package cdc

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// wire builds messages in the server's format.
// https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
type wire []byte

func (w wire) byte(b byte) wire      { return append(w, b) }
func (w wire) u16(n uint16) wire     { return binary.BigEndian.AppendUint16(w, n) }
func (w wire) u32(n uint32) wire     { return binary.BigEndian.AppendUint32(w, n) }
func (w wire) u64(n uint64) wire     { return binary.BigEndian.AppendUint64(w, n) }
func (w wire) text(s string) wire    { return append(append(w, s...), 0) }
func (w wire) value(s string) wire   { return append(w.byte('t').u32(uint32(len(s))), s...) }
func (w wire) tuple(n uint16) wire   { return w.u16(n) }
func message(kind byte) wire         { return wire{kind} }
func begin(final uint64) wire        { return message('B').u64(final).u64(0).u32(7) }
func commit(at, end uint64) wire     { return message('C').byte(0).u64(at).u64(end).u64(0) }
func change(op byte, id uint32) wire { return message(op).u32(id) }

// described describes table t with three columns: the key, one that is not mapped, and one that is.
func described(identity byte) wire {
	return message('R').u32(1).text("public").text("t").byte(identity).u16(3).
		byte(1).text("id").u32(23).u32(0).
		byte(0).text("secret").u32(25).u32(0).
		byte(0).text("name").u32(25).u32(0)
}

var decoded = &Table{Schema: "public", Name: "t", Columns: []Column{{Name: "id"}, {Name: "name"}}, KeyColumns: 1}

func testDecoder(from LSN) *decoder {
	return newDecoder([]*Table{decoded}, nil, from, func() *Spool { return NewSpool("", 1<<30) })
}

// feed decodes messages and returns the last transaction.
func feed(t *testing.T, d *decoder, messages ...wire) *Transaction {
	t.Helper()
	var last *Transaction
	for i, m := range messages {
		transaction, err := d.decode(1, m)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if transaction != nil {
			last = transaction
		}
	}
	return last
}

// session contains every kind of message.
var session = []wire{
	message('M').byte(0).u64(1).text("prefix").u32(3).byte('a').byte('b').byte('c'),
	begin(10),
	message('O').u64(5).text("elsewhere"),
	message('Y').u32(99).text("public").text("kind"),
	described('d'),
	change('I', 1).byte('N').tuple(3).value("1").value("s").value("ann"),
	change('U', 1).byte('N').tuple(3).value("1").byte('n').byte('u'),
	change('U', 1).byte('K').tuple(3).value("1").byte('n').byte('n').byte('N').tuple(3).value("2").byte('u').value("bob"),
	change('U', 1).byte('O').tuple(3).value("2").value("s").value("bob").byte('N').tuple(3).value("2").byte('n').byte('u'),
	change('D', 1).byte('K').tuple(3).value("2").byte('n').byte('n'),
	message('T').u32(1).byte(0).u32(1),
	commit(10, 20),
}

func TestDecoder_DecodesEveryKindOfMessage(t *testing.T) {
	t.Parallel()
	transaction := feed(t, testDecoder(1), session...)
	relation := transaction.content.changes[0].Relation
	ann, bob, one, two := TextValue("ann"), TextValue("bob"), TextValue("1"), TextValue("2")
	want := []Change{
		{Seq: 0, Op: Insert, Relation: relation, Key: "1", New: Row{one, ann}},
		{Seq: 1, Op: Update, Relation: relation, Key: "1", New: Row{one, {Kind: Unchanged}}},
		{Seq: 2, Op: Delete, Relation: relation, Key: "1"},
		{Seq: 3, Op: Insert, Relation: relation, Key: "2", New: Row{two, bob}, Moved: true, OldKey: "1"},
		{Seq: 4, Op: Update, Relation: relation, Key: "2", New: Row{two, bob}, Old: Row{two, bob}},
		{Seq: 5, Op: Delete, Relation: relation, Key: "2"},
		{Seq: 6, Op: Truncate, Relation: relation},
	}
	if d := cmp.Diff(want, transaction.content.changes); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	if transaction.Commit != 10 || transaction.End != 20 || transaction.XID != 7 || transaction.Origin != "elsewhere" {
		t.Errorf("transaction %d at %s-%s from %q", transaction.XID, transaction.Commit, transaction.End, transaction.Origin)
	}
}

func TestDecoder_SkipsDurableTransactions(t *testing.T) {
	t.Parallel()
	d := testDecoder(11)
	if transaction := feed(t, d, session...); transaction != nil || d.inTransaction() {
		t.Errorf("got transaction %v, want none", transaction)
	}
	if transaction := feed(t, d, begin(11), change('D', 1).byte('K').tuple(3).value("2").byte('n').byte('n'), commit(11, 12)); transaction.Len() != 1 {
		t.Errorf("got %d changes, want 1", transaction.Len())
	}
}

// An unchanged TOASTed key is omitted from the new row, but present in the old key.
func TestDecoder_FillsAnUnchangedKey(t *testing.T) {
	t.Parallel()
	transaction := feed(t, testDecoder(1), begin(10), described('d'),
		change('U', 1).byte('K').tuple(3).value("long").byte('n').byte('n').byte('N').tuple(3).byte('u').byte('n').value("x"), commit(10, 20))
	got := transaction.content.changes
	if len(got) != 1 || got[0].Op != Update || got[0].Key != "long" || got[0].New[0] != TextValue("long") || got[0].Old != nil {
		t.Errorf("got %v, want an update of the long key", got)
	}
}

func TestDecoder_RejectsTruncatedMessages(t *testing.T) {
	t.Parallel()
	for i, m := range session {
		for cut := range m {
			d := testDecoder(1)
			feed(t, d, session[1:5]...)
			if m[0] == 'B' {
				d = testDecoder(1)
			}
			transaction, err := d.decode(3, slices.Clip(m[:cut]))
			decodeErr, ok := errors.AsType[*DecodeError](err)
			if !ok {
				t.Errorf("the first %d bytes of message %d gave transaction %v and error %v, want a DecodeError", cut, i, transaction, err)
			} else if decodeErr.LSN != 3 || IsTransient(err) {
				t.Errorf("error %v, want a final one at 0/3", err)
			}
		}
	}
}

func TestDecoder_RejectsInvalidMessages(t *testing.T) {
	t.Parallel()
	row := change('I', 1).byte('N').tuple(3).value("1").value("s").value("ann")
	for name, test := range map[string]struct {
		before []wire
		last   wire
	}{
		"nothing":                       {nil, wire{}},
		"unknown message":               {nil, message('Z').u64(1)},
		"streamed transaction":          {nil, message('S').u32(1).byte(1)},
		"begin twice":                   {[]wire{begin(10)}, begin(11)},
		"commit without begin":          {nil, commit(10, 20)},
		"commit of another":             {[]wire{begin(10)}, commit(11, 20)},
		"row outside":                   {[]wire{described('d')}, row},
		"row of an unknown relation":    {[]wire{begin(10)}, row},
		"truncation outside":            {[]wire{described('d')}, message('T').u32(1).byte(0).u32(1)},
		"truncation of the unknown":     {[]wire{begin(10)}, message('T').u32(1).byte(0).u32(1)},
		"truncation of countless":       {[]wire{begin(10)}, message('T').u32(1 << 31).byte(0).u32(1)},
		"too few columns":               {[]wire{begin(10), described('d')}, change('I', 1).byte('N').tuple(2).value("1").value("s")},
		"binary value":                  {[]wire{begin(10), described('d')}, change('D', 1).byte('K').tuple(3).byte('b').u32(0).byte('n').byte('n')},
		"null key":                      {[]wire{begin(10), described('d')}, change('I', 1).byte('N').tuple(3).byte('n').value("s").value("ann")},
		"insert with an old row":        {[]wire{begin(10), described('d')}, change('I', 1).byte('K').tuple(3).value("1").byte('n').byte('n').byte('N').tuple(3).value("1").byte('n').byte('n')},
		"delete with a new row":         {[]wire{begin(10), described('d')}, change('D', 1).byte('N').tuple(3).value("1").byte('n').byte('n')},
		"update without a new row":      {[]wire{begin(10), described('d')}, change('U', 1).byte('K').tuple(3).value("1").byte('n').byte('n')},
		"bytes after the row":           {[]wire{begin(10), described('d')}, append(row, 0)},
		"value longer than the message": {[]wire{begin(10), described('d')}, change('I', 1).byte('N').tuple(3).byte('t').u32(1 << 31)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := testDecoder(1)
			feed(t, d, test.before...)
			if transaction, err := d.decode(3, test.last); err == nil {
				t.Errorf("got transaction %v, want an error", transaction)
			}
		})
	}
}

func BenchmarkDecoder_OneRowTransaction(b *testing.B) {
	d := testDecoder(1)
	messages := []wire{begin(10), change('U', 1).byte('N').tuple(3).value("f81d4fae-7dec-11d0-a765-00a0c91e6bf6").value("secret").value("somebody@example.com"), commit(10, 20)}
	if _, err := d.decode(1, described('d')); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range messages {
			if _, err := d.decode(1, m); err != nil {
				b.Fatal(err)
			}
		}
	}
}
