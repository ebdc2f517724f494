package engine

import (
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping/mappingtest"
)

var foldTable = &cdc.Table{
	Schema: "public", Name: "t", KeyColumns: 1,
	Columns: []cdc.Column{{Name: "id"}, {Name: "a"}, {Name: "b"}},
}

var foldRelation = &cdc.Relation{Table: foldTable, Types: []uint32{25, 25, 25}}

// database applies changes one after the other, as PostgreSQL does, and records what the WAL would contain.
type database struct {
	rows mappingtest.Mirror
	wal  []cdc.Change
}

func (d *database) record(c cdc.Change) {
	c.Seq, c.Relation = len(d.wal), foldRelation
	d.wal = append(d.wal, c)
}

func (d *database) step(t *rapid.T) {
	id := rapid.SampledFrom([]string{"1", "2", "3", "4", "5"}).Draw(t, "id")
	value := func(name string) cdc.Value {
		if i := rapid.IntRange(-1, 2).Draw(t, name); i >= 0 {
			return cdc.TextValue(strconv.Itoa(i))
		}
		return cdc.NullValue
	}
	key := cdc.Key(id)
	row := d.rows.Get(foldTable, key)
	if row == nil {
		row = cdc.Row{cdc.TextValue(id), value("a"), value("b")}
		d.rows.Put(foldTable, row)
		d.record(cdc.Change{Op: cdc.Insert, Key: key, New: slices.Clone(row)})
		return
	}
	if rapid.IntRange(0, 2).Draw(t, "what") == 0 {
		delete(d.rows[foldTable], key)
		d.record(cdc.Change{Op: cdc.Delete, Key: key})
		return
	}
	next := cdc.Row{row[0], value("a"), row[2]}
	logged := slices.Clone(next)
	if rapid.Bool().Draw(t, "toast") {
		logged[2] = cdc.Value{Kind: cdc.Unchanged}
	} else {
		next[2] = value("b")
		logged[2] = next[2]
	}
	to := rapid.SampledFrom([]string{id, id, "1", "4", "5"}).Draw(t, "to")
	if to == id || d.rows.Get(foldTable, cdc.Key(to)) != nil {
		d.rows.Put(foldTable, next)
		d.record(cdc.Change{Op: cdc.Update, Key: key, New: logged})
		return
	}
	next[0], logged[0] = cdc.TextValue(to), cdc.TextValue(to)
	delete(d.rows[foldTable], key)
	d.rows.Put(foldTable, next)
	d.record(cdc.Change{Op: cdc.Delete, Key: key})
	d.record(cdc.Change{Op: cdc.Insert, Key: cdc.Key(to), New: logged, Moved: true, OldKey: key})
}

// The folded and resolved changes must lead from the rows before to the rows after, with one change per row and no change that
// changes nothing.
func TestFold_HasSameEffectAsAllChanges(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := &database{rows: mappingtest.Mirror{foldTable: {}}}
		for range rapid.IntRange(0, 6).Draw(t, "before") {
			d.step(t)
		}
		before := mappingtest.Mirror{foldTable: {}}
		for key, row := range d.rows[foldTable] {
			before[foldTable][key] = slices.Clone(row)
		}
		d.wal = nil
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			d.step(t)
		}
		seen, seq := map[cdc.Key]bool{}, -1
		after := mappingtest.Mirror{foldTable: {}}
		maps.Copy(after[foldTable], before[foldTable])
		for _, c := range foldParts(t, d.wal) {
			if seen[c.Key] || c.Seq <= seq {
				t.Fatalf("a second change of row %s, or out of order", c.Key)
			}
			seen[c.Key], seq = true, c.Seq
			old := before.Get(foldTable, c.Key)
			if c.Moved {
				ResolveFrom(&c, before.Get(foldTable, c.OldKey))
			}
			changed := Resolve(&c, old)
			if (c.Op == cdc.Insert) != (old == nil) {
				t.Fatalf("%s of row %s, whose old row is %v", c.Op, c.Key, old)
			}
			if !changed && !slices.Equal(c.New, old) {
				t.Fatalf("row %s is reported as unchanged: %v, was %v", c.Key, c.New, old)
			}
			after.Apply([]cdc.Change{c})
		}
		if diff := cmp.Diff(d.rows, after, cmp.Transformer("rows", func(m mappingtest.Mirror) map[cdc.Key]cdc.Row { return m[foldTable] })); diff != "" {
			t.Fatalf("rows after the transaction (-want +got):\n%s", diff)
		}
	})
}

func TestFold_TruncateDeletesEarlierRows(t *testing.T) {
	t.Parallel()
	row := cdc.Row{cdc.TextValue("1"), cdc.NullValue, cdc.NullValue}
	got := fold(t, []cdc.Change{
		{Seq: 0, Op: cdc.Insert, Relation: foldRelation, Key: "1", New: row},
		{Seq: 1, Op: cdc.Update, Relation: foldRelation, Key: "2", New: row},
		{Seq: 2, Op: cdc.Truncate, Relation: foldRelation},
		{Seq: 3, Op: cdc.Insert, Relation: foldRelation, Key: "3", New: row},
	})
	var ops []string
	for _, c := range got {
		ops = append(ops, c.Op.String()+" "+string(c.Key))
	}
	if diff := cmp.Diff([]string{"delete 2", "insert 3"}, ops); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestResolve_RowNotInMirror(t *testing.T) {
	t.Parallel()
	table := &cdc.Table{Name: "t", KeyColumns: 2, Columns: []cdc.Column{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	relation := &cdc.Relation{Table: table, Types: []uint32{25, 25, 25}}
	c := cdc.Change{Op: cdc.Delete, Relation: relation, Key: cdc.MakeKey(`x\`, "y\x1fz")}
	if !Resolve(&c, nil) {
		t.Fatal("a delete is reported as unchanged")
	}
	want := cdc.Row{cdc.TextValue(`x\`), cdc.TextValue("y\x1fz"), {}}
	if diff := cmp.Diff(want, c.Old); diff != "" {
		t.Errorf("old row (-want +got):\n%s", diff)
	}
}

// The large value of a row whose key changes twice is found under the first key.
func TestFold_KeyChangesTwice(t *testing.T) {
	t.Parallel()
	row := func(id string) cdc.Row { return cdc.Row{cdc.TextValue(id), cdc.NullValue, {Kind: cdc.Unchanged}} }
	got := fold(t, []cdc.Change{
		{Seq: 0, Op: cdc.Delete, Relation: foldRelation, Key: "1"},
		{Seq: 1, Op: cdc.Insert, Relation: foldRelation, Key: "2", New: row("2"), Moved: true, OldKey: "1"},
		{Seq: 2, Op: cdc.Delete, Relation: foldRelation, Key: "2"},
		{Seq: 3, Op: cdc.Insert, Relation: foldRelation, Key: "3", New: row("3"), Moved: true, OldKey: "2"},
	})
	want := []cdc.Change{
		{Seq: 0, Op: cdc.Delete, Relation: foldRelation, Key: "1"},
		{Seq: 3, Op: cdc.Insert, Relation: foldRelation, Key: "3", New: row("3"), Moved: true, OldKey: "1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func fold(t testing.TB, changes []cdc.Change) []cdc.Change {
	t.Helper()
	net, err := Fold(changes)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// foldParts folds in the way of a transaction that is too large for memory: after a lineage, key by key, in parts of any size,
// with rows in a file.
func foldParts(t *rapid.T, wal []cdc.Change) []cdc.Change {
	rows := cdc.NewRowStore("", rapid.IntRange(0, 1).Draw(t, "row limit"))
	defer rows.Close()
	lineage := NewLineage(rows)
	for i := range wal {
		lineage.Expect(&wal[i])
	}
	parts := map[cdc.Key][]cdc.Change{}
	for _, c := range wal {
		if err := lineage.Follow(&c); err != nil {
			t.Fatal(err)
		}
		parts[c.Key] = append(parts[c.Key], c)
	}
	var net []cdc.Change
	for _, part := range parts {
		folding, cut := Folding{}, rapid.IntRange(0, len(part)).Draw(t, "cut")
		folding.Add(part[:cut])
		folding.Add(part[cut:])
		net = append(net, folding.Net()...)
	}
	slices.SortFunc(net, func(a, b cdc.Change) int { return a.Seq - b.Seq })
	return net
}
