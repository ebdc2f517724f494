package cdc_test

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
)

var anyValue = rapid.Custom(func(t *rapid.T) cdc.Value {
	v := cdc.Value{Kind: cdc.Kind(rapid.IntRange(0, int(cdc.Text)).Draw(t, "kind"))}
	if v.Kind == cdc.Text {
		v.Text = rapid.OneOf(rapid.String(), rapid.Just(strings.Repeat("x", 40_000))).Draw(t, "text")
	}
	return v
})

var anyRow = rapid.OneOf(rapid.Just(cdc.Row(nil)), rapid.Map(rapid.SliceOfN(anyValue, 0, 5), func(v []cdc.Value) cdc.Row { return append(cdc.Row{}, v...) }))

// A spool returns the changes that were added, in memory or from the file, as a whole and by parts.
func TestSpool_RoundTrip(t *testing.T) {
	t.Parallel()
	relations := []*cdc.Relation{{Table: users}, {Table: userRole}}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		spool := cdc.NewSpool(dir, rapid.SampledFrom([]int{1, 1000, 1 << 30}).Draw(t, "limit"))
		var want []cdc.Change
		for seq := range rapid.IntRange(0, 200).Draw(t, "changes") {
			c := cdc.Change{Seq: 2 * (seq / 3), Sub: seq % 3, Op: cdc.Op(rapid.IntRange(1, 4).Draw(t, "op")), Relation: rapid.SampledFrom(relations).Draw(t, "relation")}
			if c.Op != cdc.Truncate {
				c.Key = cdc.Key(rapid.StringMatching("[a-d]").Draw(t, "key"))
				c.Moved, c.OldKey = rapid.Bool().Draw(t, "moved"), cdc.Key(rapid.StringMatching("[a-d]?").Draw(t, "from"))
				c.New, c.Old = anyRow.Draw(t, "new"), anyRow.Draw(t, "old")
			}
			want = append(want, c)
		}
		for _, c := range anyOrder(want).Draw(t, "order") {
			if err := spool.Add(c); err != nil {
				t.Fatal(err)
			}
		}
		first := finish(t, spool)
		check(t, first, want)

		// Like a consumer: part by part into another spool.
		second := cdc.NewSpool(dir, rapid.SampledFrom([]int{1, 1000, 1 << 30}).Draw(t, "second limit"))
		eachPart(t, first, func(_ int, c cdc.Change) {
			if err := second.Add(c); err != nil {
				t.Fatal(err)
			}
		})
		again := finish(t, second)
		check(t, again, want)
		for _, transaction := range []*cdc.Transaction{first, first, again} {
			if err := transaction.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("files %v were not removed (%v)", left, err)
	}
}

// anyOrder generates the usual order of the changes, or any other one.
func anyOrder(changes []cdc.Change) *rapid.Generator[[]cdc.Change] {
	return rapid.OneOf(rapid.Just(changes), rapid.Permutation(changes))
}

func finish(t *rapid.T, spool *cdc.Spool) *cdc.Transaction {
	transaction, err := spool.Transaction()
	if err != nil {
		t.Fatal(err)
	}
	return transaction
}

func check(t *rapid.T, transaction *cdc.Transaction, want []cdc.Change) {
	var got []cdc.Change
	for c, err := range transaction.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	sameRelation := cmp.Comparer(func(a, b *cdc.Relation) bool { return a == b })
	if d := cmp.Diff(want, got, sameRelation); d != "" {
		t.Fatalf("changes (-want +got):\n%s", d)
	}
	if transaction.Len() != len(want) {
		t.Fatalf("length %d, want %d", transaction.Len(), len(want))
	}
	partOf := map[cdc.Key]int{}
	rows, truncates := 0, 0
	parts := eachPart(t, transaction, func(part int, c cdc.Change) {
		if c.Op == cdc.Truncate {
			truncates++
			return
		}
		if at, ok := partOf[c.Key]; ok && at != part {
			t.Fatalf("changes of key %q are in parts %d and %d", c.Key, at, part)
		}
		partOf[c.Key] = part
		rows++
	})
	for _, c := range want {
		if c.Op == cdc.Truncate {
			truncates -= parts
		} else {
			rows--
		}
	}
	if rows != 0 || truncates != 0 {
		t.Fatalf("the parts have %d extra rows and %d extra truncations", rows, truncates)
	}
}

// eachPart calls each for the changes of every part, checks their order, and returns the number of parts.
func eachPart(t rapid.TB, transaction *cdc.Transaction, each func(part int, c cdc.Change)) (parts int) {
	t.Helper()
	err := transaction.EachPart(func() error { return nil }, func(part iter.Seq2[cdc.Change, error]) error {
		var last *cdc.Change
		for c, err := range part {
			if err != nil {
				return err
			}
			if last != nil && !last.Before(&c) {
				return fmt.Errorf("part %d is not in order", parts)
			}
			last = &c
			each(parts, c)
		}
		parts++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return parts
}

// The order of split parts is unrelated to that of the transaction.
func TestSpool_AcceptsChangesOfSplitParts(t *testing.T) {
	t.Parallel()
	const rows = 20_000
	relation := &cdc.Relation{Table: users}
	first := cdc.NewSpool(t.TempDir(), 1000)
	for i := range rows {
		key := strconv.Itoa(i)
		if err := first.Add(cdc.Change{Seq: i, Op: cdc.Insert, Relation: relation, Key: cdc.Key(key), New: cdc.Row{cdc.TextValue(key)}}); err != nil {
			t.Fatal(err)
		}
	}
	transaction, err := first.Transaction()
	if err != nil {
		t.Fatal(err)
	}
	defer transaction.Close()
	second := cdc.NewSpool(t.TempDir(), 1000)
	parts := eachPart(t, transaction, func(_ int, c cdc.Change) {
		if err := second.Add(c); err != nil {
			t.Fatal(err)
		}
	})
	again, err := second.Transaction()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	next := 0
	for c, err := range again.All() {
		if err != nil || c.Seq != next {
			t.Fatalf("change %d came with error %v, want change %d", c.Seq, err, next)
		}
		next++
	}
	if next != rows || parts != 64*64 {
		t.Errorf("got %d changes from %d parts, want %d from 64*64", next, parts, rows)
	}
}

func TestSpool_ErrorNamesTheDirectory(t *testing.T) {
	t.Parallel()
	spool := cdc.NewSpool(t.TempDir()+"/missing", 1)
	err := spool.Add(cdc.Change{Op: cdc.Delete, Relation: &cdc.Relation{Table: users}, Key: "a"})
	if !errors.Is(err, cdc.ErrSpill) || !strings.Contains(err.Error(), "/missing") {
		t.Errorf("got error %v, want an ErrSpill that names the directory", err)
	}
}

// With a million rows, neither the spool nor its readers hold more than a few megabytes.
func TestSpool_MemoryOfALargeTransaction(t *testing.T) {
	spool := cdc.NewSpool(t.TempDir(), 0)
	relation := &cdc.Relation{Table: users}
	const rows = 1_000_000
	peak := newPeak()
	for i := range rows {
		key := fmt.Sprintf("%036d", i)
		c := cdc.Change{Seq: i, Op: cdc.Insert, Relation: relation, Key: cdc.Key(key), New: cdc.Row{cdc.TextValue(key), cdc.TextValue("somebody@example.com"), cdc.NullValue}}
		if err := spool.Add(c); err != nil {
			t.Fatal(err)
		}
		if i%50_000 == 0 {
			peak.measure()
		}
	}
	transaction, err := spool.Transaction()
	if err != nil {
		t.Fatal(err)
	}
	defer transaction.Close()
	total := 0
	eachPart(t, transaction, func(int, cdc.Change) {
		if total++; total%50_000 == 0 {
			peak.measure()
		}
	})
	next := 0
	for c, err := range transaction.All() {
		if err != nil || c.Seq != next {
			t.Fatalf("change %d came with error %v, want change %d", c.Seq, err, next)
		}
		if next++; next%50_000 == 0 {
			peak.measure()
		}
	}
	if total != rows || next != rows || !transaction.Spilled() {
		t.Errorf("read %d changes by parts and %d in order, want %d", total, next, rows)
	}
	t.Logf("peak of %d MiB", peak.bytes>>20)
	if peak.bytes > 24<<20 {
		t.Errorf("up to %d MiB in use, want at most 24", peak.bytes>>20)
	}
}

// A consumer that keeps the last state of each row of a part needs little memory, however often a row changes and however wide
// it is.
func TestSpool_MemoryOfAPart(t *testing.T) {
	const limit, rows, updates = 256 << 10, 60_000, 60_000
	spool := cdc.NewSpool(t.TempDir(), limit)
	relation := &cdc.Relation{Table: users}
	value := strings.Repeat("v", 1000)
	add := func(seq, row int) {
		key := strconv.Itoa(row)
		c := cdc.Change{Seq: seq, Op: cdc.Update, Relation: relation, Key: cdc.Key(key), New: cdc.Row{cdc.TextValue(key), cdc.TextValue(value), cdc.NullValue}}
		if err := spool.Add(c); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rows {
		add(i, i)
	}
	for i := range updates {
		add(rows+i, 7)
	}
	transaction, err := spool.Transaction()
	if err != nil {
		t.Fatal(err)
	}
	defer transaction.Close()
	peak := newPeak()
	seen := 0
	err = transaction.EachPart(func() error { return nil }, func(part iter.Seq2[cdc.Change, error]) error {
		last := map[cdc.Key]cdc.Change{}
		for c, err := range part {
			if err != nil {
				return err
			}
			last[c.Key] = c
		}
		if seen += len(last); seen%512 < len(last) {
			peak.measure()
		}
		runtime.KeepAlive(last)
		return nil
	})
	if err != nil || seen != rows {
		t.Fatalf("read %d rows, want %d (%v)", seen, rows, err)
	}
	t.Logf("peak of %d KiB", peak.bytes>>10)
	if peak.bytes > 2*limit {
		t.Errorf("up to %d KiB in use, want at most %d", peak.bytes>>10, 2*limit>>10)
	}
}

// peak is the most heap memory in use beyond what was in use at the start, in bytes.
type peak struct{ start, bytes uint64 }

func newPeak() *peak {
	p := &peak{}
	p.start = live()
	return p
}

func (p *peak) measure() {
	if now := live(); now > p.start {
		p.bytes = max(p.bytes, now-p.start)
	}
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestStream_SpillsALargeTransaction(t *testing.T) {
	t.Parallel()
	s := newSource(t, schema, mapped)
	s.config.MemoryLimit = 64 << 10
	r := s.stream(s.start, 1)
	const rows = 20_000
	s.exec(fmt.Sprintf("BEGIN; INSERT INTO users VALUES (0); TRUNCATE users; INSERT INTO users SELECT i, 'n' || i FROM generate_series(1, %d) i; UPDATE users SET name = 'u'; COMMIT", rows))
	transaction := r.next()
	defer transaction.Close()
	if !transaction.Spilled() || transaction.Bytes() > 64<<10 || transaction.Len() != 2*rows+2 {
		t.Errorf("%d changes hold %d bytes, spilled: %t; want %d spilled ones", transaction.Len(), transaction.Bytes(), transaction.Spilled(), 2*rows+2)
	}
	state := map[cdc.Key]string{}
	truncates := 0
	parts := eachPart(t, transaction, func(_ int, c cdc.Change) {
		if c.Op == cdc.Truncate {
			truncates++
			delete(state, "0")
			return
		}
		state[c.Key] += c.Op.String() + " " + c.New[1].Text + " "
	})
	if truncates != parts || len(state) != rows {
		t.Errorf("%d parts have %d keys, and are truncated %d times", parts, len(state), truncates)
	}
	for key, got := range state {
		diff(t, "history of "+string(key), fmt.Sprintf("insert n%s update u ", key), got)
	}
}
