package cdc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzReadChange checks that a damaged record gives an error and no panic, and that every change that can be read survives a
// round trip.
func FuzzReadChange(f *testing.F) {
	relations := []*Relation{{Table: decoded}, {Table: paired}}
	row := Row{TextValue("1"), NullValue, {Kind: Unchanged}, {}}
	for _, c := range []Change{
		{Seq: 0, Op: Insert, Key: "1", New: row},
		{Seq: 1 << 40, Op: Update, Key: MakeKey("1", `x\`), New: row, Old: row},
		{Seq: 300, Op: Insert, Key: "2", Moved: true, OldKey: "1", New: Row{}},
		{Seq: 7, Op: Delete, Key: "1"},
		{Seq: 8, Op: Truncate},
	} {
		record := appendChange(nil, &c, 1)
		f.Add(string(record))
		f.Add(string(record[:len(record)-1]))
	}
	f.Add("\x01\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00")         // a relation that is not an int
	f.Add("\x01\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")             // a row with too many values
	f.Add("\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00") // a text that is too long
	f.Fuzz(func(t *testing.T, text string) {
		c, err := readChange(ordinal{}, text, relations)
		if err != nil {
			return
		}
		relation := 0
		if c.Relation == relations[1] {
			relation = 1
		}
		again, err := readChange(ordinal{}, string(appendChange(nil, &c, relation)), relations)
		if err != nil {
			t.Fatalf("reading %v again: %v", c, err)
		}
		if diff := cmp.Diff(c, again, cmp.Comparer(func(a, b *Relation) bool { return a == b })); diff != "" {
			t.Errorf("read again (-first +second):\n%s", diff)
		}
	})
}
