package cdc

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// The keys of large rows are kept for a whole transaction. They must not retain the rows in memory.
func TestRow_KeyDoesNotRetainALargeRow(t *testing.T) {
	const rows, bytes = 64, 1 << 20
	table := &Table{Schema: "public", Name: "docs", Columns: []Column{{Name: "id"}, {Name: "body"}}, KeyColumns: 1}
	relation := &Relation{Table: table, Types: []uint32{25, 25}}
	body := []byte(strings.Repeat("x", bytes))
	decoded := func(n int) Row {
		id := []byte(strconv.Itoa(n))
		row, err := relation.row([]cell{{kind: Text, text: id}, {kind: Text, text: body}}, len(id)+len(body))
		if err != nil {
			t.Fatal(err)
		}
		return row
	}
	spool := NewSpool(t.TempDir(), 1)
	var kept []string
	for n := range rows {
		row := decoded(n)
		kept = append(kept, row[0].Text)
		if err := spool.Add(Change{Seq: n, Op: Insert, Relation: relation, Key: Key(row[0].Text), New: row}); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := spool.Transaction()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tx.Close(); err != nil {
			t.Error(err)
		}
	}()
	for c, err := range tx.All() {
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, string(c.Key), c.New[0].Text)
	}
	if len(kept) != 3*rows || kept[rows] != "0" || kept[2*rows] != "32" {
		t.Fatalf("%d texts were read: %q …", len(kept), kept[rows:rows+4])
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > rows*bytes/2 {
		t.Errorf("%d bytes in use for %d keys of rows with %d bytes each", m.HeapAlloc, rows, bytes)
	}
	runtime.KeepAlive(kept)
}
