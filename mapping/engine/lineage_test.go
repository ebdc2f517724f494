package engine

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/iam-relay/iam-relay/cdc"
)

// Neither the number of moved rows nor the size of their values may determine the memory that a lineage needs.
func TestLineage_MemoryOfMovedRows(t *testing.T) {
	const moved, limit = 20_000, 64 << 10
	rows := cdc.NewRowStore(t.TempDir(), limit)
	defer rows.Close()
	lineage := NewLineage(rows)
	key := func(column string, i int) cdc.Key { return cdc.Key(column + strconv.Itoa(i)) }
	move := func(i int, from, to string) *cdc.Change {
		row := cdc.Row{cdc.TextValue(string(key(to, i))), cdc.NullValue, {Kind: cdc.Unchanged}}
		return &cdc.Change{Op: cdc.Insert, Relation: foldRelation, Key: key(to, i), New: row, Moved: true, OldKey: key(from, i)}
	}
	for i := range moved {
		lineage.Expect(move(i, "a", "b"))
		lineage.Expect(move(i, "b", "c"))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range moved {
		value := strings.Repeat(strconv.Itoa(i%10), 4000)
		row := cdc.Row{cdc.TextValue(string(key("a", i))), cdc.NullValue, cdc.TextValue(value)}
		if err := lineage.Follow(&cdc.Change{Op: cdc.Update, Relation: foldRelation, Key: key("a", i), New: row}); err != nil {
			t.Fatal(err)
		}
		for _, c := range []*cdc.Change{move(i, "a", "b"), move(i, "b", "c")} {
			if err := lineage.Follow(c); err != nil {
				t.Fatal(err)
			}
			if c.New[2].Text != value || c.OldKey != key("a", i) || !c.Moved {
				t.Fatalf("row %d moved to %s from %q with %.20s", i, c.Key, c.OldKey, c.New[2].Text)
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if held := int(after.HeapAlloc) - int(before.HeapAlloc); held > moved*300 {
		t.Errorf("the lineage needs %d bytes for each of %d moved rows", held/moved, moved)
	}
	runtime.KeepAlive(lineage)
}

// A row that the transaction inserted, or that returned to its key, has not moved. The empty string is a valid key.
func TestLineage_OriginOfRows(t *testing.T) {
	t.Parallel()
	row := func(id string) cdc.Row { return cdc.Row{cdc.TextValue(id), cdc.NullValue, {Kind: cdc.Unchanged}} }
	insert := func(id string) cdc.Change {
		return cdc.Change{Op: cdc.Insert, Key: cdc.Key(id), New: cdc.Row{cdc.TextValue(id), cdc.NullValue, cdc.TextValue("new")}}
	}
	move := func(from, to string) cdc.Change {
		return cdc.Change{Op: cdc.Insert, Key: cdc.Key(to), New: row(to), Moved: true, OldKey: cdc.Key(from)}
	}
	for name, c := range map[string]struct {
		changes []cdc.Change
		moved   bool
		from    cdc.Key
	}{
		"once":                           {[]cdc.Change{move("a", "b")}, true, "a"},
		"twice":                          {[]cdc.Change{move("a", "b"), move("b", "c")}, true, "a"},
		"from the empty key":             {[]cdc.Change{move("", "b"), move("b", "c")}, true, ""},
		"through the empty key":          {[]cdc.Change{move("a", ""), move("", "c")}, true, "a"},
		"away and back":                  {[]cdc.Change{move("a", "b"), move("b", "a")}, false, ""},
		"inserted before":                {[]cdc.Change{insert("a"), move("a", "b")}, false, ""},
		"two rows swap keys":             {[]cdc.Change{move("a", "t"), move("b", "a"), move("t", "b")}, true, "a"},
		"to a key that another row left": {[]cdc.Change{move("a", "t"), move("b", "a")}, true, "b"},
	} {
		lineage := NewLineage(cdc.NewRowStore("", 0))
		for i := range c.changes {
			c.changes[i].Relation = foldRelation
			lineage.Expect(&c.changes[i])
		}
		for i := range c.changes {
			if err := lineage.Follow(&c.changes[i]); err != nil {
				t.Fatal(err)
			}
		}
		if last := c.changes[len(c.changes)-1]; last.Moved != c.moved || last.OldKey != c.from {
			t.Errorf("%s: moved %t from %q, want %t from %q", name, last.Moved, last.OldKey, c.moved, c.from)
		}
	}
}
