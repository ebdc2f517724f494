package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
	"github.com/iam-relay/iam-relay/mapping"
)

// The counted bytes match the cached rows and stay within the limit.
func TestRowCache_StaysWithinItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := rowCache{limit: 4000}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rowID{users, cdc.Key(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"))}
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				c.drop(id)
			case 1:
				c.get(id)
			default:
				c.put(id, cdc.Row{cdc.TextValue(strings.Repeat("x", rapid.IntRange(0, 600).Draw(t, "size")))})
			}
			young, old := 0, 0
			for id, row := range c.young {
				young += entryBytes(id.key, row)
			}
			for id, row := range c.old {
				old += entryBytes(id.key, row)
			}
			if young != c.bytes || young > c.limit || old > c.limit {
				t.Fatalf("the generations hold %d and %d bytes; %d are counted, %d allowed", young, old, c.bytes, c.limit)
			}
		}
	})
}

// counting counts the reads of the mirror.
type counting struct {
	MirrorStore
	n int
}

func (c *counting) Read(ctx context.Context, wanted ...Wanted) error {
	c.n++
	return c.MirrorStore.Read(ctx, wanted...)
}

// fill stores users with size bytes in the second column.
func (s *fixture) fill(keys []cdc.Key, size int) {
	s.Helper()
	for _, key := range keys {
		chunk := &Chunk{}
		chunk.upsert(users, key, cdc.Row{cdc.TextValue(string(key)), cdc.TextValue(strings.Repeat("x", size)), cdc.NullValue}, nil, nil)
		s.must(s.leader.Commit(s.Context(), chunk, 10, 0))
	}
}

func numbered(n int) []cdc.Key {
	keys := make([]cdc.Key, n)
	for i := range keys {
		keys[i] = cdc.Key(fmt.Sprintf("%04d", i))
	}
	return keys
}

// Rows loaded for a batch stay available although the cache has evicted them.
func TestMirror_LoadedRowsStayForTheBatch(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	keys := numbered(150)
	s.fill(keys, 50_000)
	m := s.leader.NewMirror(nil)
	asked := &counting{MirrorStore: m.store}
	m.store = asked
	for batch := range 2 {
		m.Begin(t.Context())
		for _, key := range keys {
			m.Want(mapping.Ref{Table: users, Key: key})
		}
		s.must(m.Load(func(*cdc.Table, cdc.Row) {}))
		for _, key := range keys {
			if row := m.Row(users, key); row == nil {
				t.Fatalf("row %s is missing", key)
			}
		}
		if m.Row(users, "none") != nil {
			t.Error("there is a row of no key")
		}
		if s.must(m.Err()); asked.n != 2*(batch+1) {
			t.Errorf("after batch %d the store was asked %d times, want %d", batch, asked.n, 2*(batch+1))
		}
	}
}

// A batch that needs more than fits into memory gets ErrFull, and still gets every row.
func TestMirror_BatchIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	keys := numbered(40)
	s.fill(keys, 1<<20)
	m := s.leader.NewMirror(nil)
	m.Begin(t.Context())
	for _, key := range keys {
		m.Want(mapping.Ref{Table: users, Key: key})
	}
	if err := m.Load(func(*cdc.Table, cdc.Row) {}); !errors.Is(err, ErrFull) {
		t.Fatalf("loading 40 MiB: %v, want ErrFull", err)
	}
	for _, key := range keys {
		if row := m.Row(users, key); row == nil || len(row[1].Text) != 1<<20 {
			t.Fatalf("row %s is not as it was stored", key)
		}
		kept := 0
		for id, row := range m.loaded {
			kept += entryBytes(id.key, row)
		}
		if kept != m.bytes || kept > DefaultMirrorLimits.Batch {
			t.Fatalf("the batch has %d bytes and counts %d; the limit is %d", kept, m.bytes, DefaultMirrorLimits.Batch)
		}
	}
	var all []cdc.Key
	s.must(m.EachRow(t.Context(), users, func(key cdc.Key, row cdc.Row) error {
		if len(row[1].Text) != 1<<20 {
			t.Errorf("row %s is not as it was stored", key)
		}
		all = append(all, key)
		return nil
	}))
	if fmt.Sprint(all) != fmt.Sprint(keys) {
		t.Errorf("the rows are %v", all)
	}
}

// Children that do not fit into memory are not loaded, and ChildrenOmitted tells that from having none.
func TestMirror_ChildrenAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	parents := map[*cdc.Table]int{users: 2}
	child := func(chunk *Chunk, key cdc.Key, parent string, size int) {
		chunk.upsert(users, key, cdc.Row{cdc.TextValue(string(key)), cdc.TextValue(strings.Repeat("x", size)), cdc.TextValue(parent)}, parents, nil)
	}
	for _, key := range numbered(mirrorChildren>>20 + 1) {
		chunk := &Chunk{}
		child(chunk, key, "heavy", 1<<20)
		child(chunk, "l"+key, "light", 10)
		s.must(s.leader.Commit(t.Context(), chunk, 10, 0))
	}
	m := s.leader.NewMirror(parents)
	m.Begin(t.Context())
	for range 2 {
		if rows := m.Children(users, 2, "heavy"); rows != nil || !m.ChildrenOmitted() {
			t.Errorf("%d children of 1 MiB were loaded", len(rows))
		}
		if rows := m.Children(users, 2, "light"); len(rows) != mirrorChildren>>20+1 || m.ChildrenOmitted() {
			t.Errorf("there are %d children, omitted: %t", len(rows), m.ChildrenOmitted())
		}
	}
	s.must(m.Err())
}
