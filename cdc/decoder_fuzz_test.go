package cdc

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// paired has a key of two columns and one column that the database may lack.
var paired = &Table{
	Schema: "public", Name: "pair", KeyColumns: 2,
	Columns: []Column{{Name: "a"}, {Name: "b"}, {Name: "note", Optional: true}},
}

// hashed is a table whose key is hashed.
var hashed = &Table{Schema: "public", Name: "h", KeyColumns: 1, Columns: []Column{{Name: "id", Hash: true}, {Name: "name"}}}

func fuzzDecoder() *decoder {
	return newDecoder([]*Table{decoded, paired, hashed}, nil, 1, func() *Spool { return NewSpool("", 1<<30) })
}

// framed prefixes each message with its length in two bytes.
func framed(messages ...wire) []byte {
	var all []byte
	for _, m := range messages {
		all = append(binary.BigEndian.AppendUint16(all, uint16(len(m))), m...)
	}
	return all
}

// describe returns the relation message of a table with those columns for which has returns true, in the table's order.
func describe(id uint32, table *Table, types []uint32, has func(column int) bool) wire {
	w := message('R').u32(id).text(table.Schema).text(table.Name).byte('d')
	count := uint16(0)
	for i := range table.Columns {
		if has(i) {
			count++
		}
	}
	w = w.u16(count)
	for i, c := range table.Columns {
		if !has(i) {
			continue
		}
		flag := byte(0)
		if i < table.KeyColumns {
			flag = 1
		}
		w = w.byte(flag).text(c.Name).u32(types[i]).u32(0)
	}
	return w
}

// sent appends a row as the server encodes it.
func (w wire) sent(row Row) wire {
	count := w.u16(0)
	n := 0
	for _, v := range row {
		switch v.Kind {
		case Absent:
			continue
		case Null:
			count = count.byte('n')
		case Unchanged:
			count = count.byte('u')
		case Text:
			count = count.value(v.Text)
		}
		n++
	}
	binary.BigEndian.PutUint16(count[len(w):], uint16(n))
	return count
}

// keyTuple returns the row of an old tuple that contains the key only.
func keyTuple(table *Table, key Row) Row {
	row := make(Row, len(table.Columns))
	for i := range row {
		row[i] = NullValue
	}
	copy(row, key)
	return row
}

// seeds returns whole sessions, single messages, and truncated messages.
func seeds() [][]byte {
	everything := func(int) bool { return true }
	noNote := func(i int) bool { return i != 2 }
	types := []uint32{25, 25, 25}
	two := describe(2, paired, types, everything)
	one, pair := Row{TextValue("1"), TextValue(`x\`)}, Row{TextValue("1"), TextValue("x\x1f"), {Kind: Unchanged}}
	all := [][]byte{
		framed(two, change('I', 2).byte('N').sent(Row{one[0], one[1], NullValue}),
			change('U', 2).byte('K').sent(keyTuple(paired, one)).byte('N').sent(pair),
			change('D', 2).byte('O').sent(Row{one[0], one[1], TextValue("note")}),
			message('T').u32(2).byte(3).u32(1).u32(2), commit(10, 20)),
		framed(describe(2, paired, types, noNote), change('I', 2).byte('N').sent(one), two, change('U', 2).byte('N').sent(pair), commit(10, 20)),
		framed(describe(3, hashed, []uint32{2950, 25}, everything),
			change('I', 3).byte('N').sent(Row{TextValue("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), NullValue}),
			change('I', 3).byte('N').sent(Row{TextValue("no uuid"), NullValue}), commit(10, 20)),
		// A renamed table, a dropped column, a second transaction, a skipped transaction.
		framed(message('R').u32(1).text("public").text("other").byte('d').u16(1).byte(1).text("id").u32(23).u32(0),
			change('I', 1).byte('N').sent(Row{TextValue("1")}), message('T').u32(1).byte(0).u32(1)),
		framed(describe(2, paired, types, func(i int) bool { return i == 0 }), change('I', 2).byte('N').sent(Row{TextValue("1")})),
		framed(commit(10, 20), begin(30), change('D', 1).byte('K').sent(Row{TextValue("1"), NullValue, NullValue}), commit(30, 40), begin(0), commit(0, 1)),
		// Counts and lengths that exceed the message.
		framed(message('T').u32(1<<30).byte(0).u32(1), message('T').u32(1<<32-1).byte(0)),
		framed(message('R').u32(1).text("public").text("t").byte('d').u16(1<<16 - 1).byte(1).text("id").u32(23).u32(0)),
		framed(change('I', 1).byte('N').u16(1<<16-1).value("1"), change('I', 1).byte('N').u16(3).byte('t').u32(1<<32-1)),
		framed(message('M').byte(1).u64(1).text("prefix").u32(1<<32 - 1).byte('a')),
		framed(message('O').u64(1).text(""), message('O').u64(1), message('Y').u32(1).text("").text("")),
	}
	for _, identity := range []byte{'d', 'f', 'i', 'n'} {
		all = append(all, framed(append([]wire{described(identity)}, session...)...))
	}
	for _, m := range session {
		all = append(all, framed(m), framed(m[:len(m)/2]), framed(m[:len(m)-1]))
	}
	return all
}

// FuzzDecoder feeds messages to a decoder inside a transaction. The decoder must not panic, its memory must stay in proportion
// to the messages, and encoding the decoded changes as messages and decoding those must give the same changes.
func FuzzDecoder(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := fuzzDecoder()
		feed(t, d, begin(10), described('d'))
		size := len(data)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var transactions []*Transaction
		for len(data) >= 2 {
			length := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			m := data[2 : 2+length]
			data = data[2+length:]
			if transaction, err := d.decode(1, m); err == nil && transaction != nil {
				transactions = append(transactions, transaction)
			}
		}
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20+uint64(size)*1024 {
			t.Errorf("%d bytes of messages allocated %d bytes", size, took)
		}
		for _, transaction := range transactions {
			seq := -1
			for c, err := range transaction.All() {
				if err != nil {
					t.Fatal(err)
				}
				if c.Seq <= seq {
					t.Errorf("change %v is not after change %d", c, seq)
				}
				seq = c.Seq
				wellFormed(t, c)
			}
			again(t, transaction)
		}
	})
}

func wellFormed(t *testing.T, c Change) {
	t.Helper()
	if c.Op != Truncate && (c.Op == Delete) == (c.New != nil) {
		t.Errorf("change %v has an invalid new row", c)
	}
	for _, row := range []Row{c.New, c.Old} {
		if row == nil {
			continue
		}
		if len(row) != len(c.Relation.Columns) {
			t.Fatalf("row %v does not have the table's columns", row)
		}
		if key, err := c.Relation.KeyOf(row); err != nil {
			t.Errorf("row %v has no key: %v", row, err)
		} else if want := c.Key; key != want {
			t.Errorf("row %v has key %q, want %q", row, key, want)
		}
	}
}

// again encodes the changes as messages, decodes those and compares. Changes of hashed tables are left out: their values are
// unknown.
func again(t *testing.T, transaction *Transaction) {
	t.Helper()
	d := fuzzDecoder()
	feed(t, d, begin(10))
	var want []Change
	var removed *Change // the Delete of a changed key, or an independent Delete
	flush := func() {
		if removed != nil {
			feed(t, d, change('D', 1).byte('O').sent(removed.Old))
			removed = nil
		}
	}
	for c, err := range transaction.All() {
		if err != nil {
			t.Fatal(err)
		}
		if c.Relation.Table == hashed || (c.Op == Delete && c.Old == nil) || (c.OldKey != "" && removed == nil) {
			continue
		}
		if c.OldKey == "" {
			flush()
		}
		row := c.New
		if row == nil {
			row = c.Old
		}
		c.Seq = len(want)
		want = append(want, c)
		has := func(i int) bool { return row == nil || row[i].Kind != Absent }
		if c.OldKey == "" {
			feed(t, d, describe(1, c.Relation.Table, c.Relation.Types, has))
		}
		switch {
		case c.Op == Truncate:
			feed(t, d, message('T').u32(1).byte(0).u32(1))
		case c.Op == Delete:
			removed = &c
		case c.OldKey != "":
			feed(t, d, change('U', 1).byte('O').sent(removed.Old).byte('N').sent(c.New))
			removed = nil
		case c.Op == Insert:
			feed(t, d, change('I', 1).byte('N').sent(c.New))
		case c.Old == nil:
			feed(t, d, change('U', 1).byte('N').sent(c.New))
		default:
			feed(t, d, change('U', 1).byte('O').sent(c.Old).byte('N').sent(c.New))
		}
	}
	flush()
	var got []Change
	for c, err := range feed(t, d, commit(10, 20)).All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	sameRelation := cmp.Comparer(func(a, b *Relation) bool { return a.Table == b.Table && cmp.Equal(a.Types, b.Types) })
	if diff := cmp.Diff(want, got, sameRelation); diff != "" {
		t.Errorf("decoded again (-want +got):\n%s", diff)
	}
}
