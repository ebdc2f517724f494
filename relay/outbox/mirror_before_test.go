package outbox

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/iam-relay/iam-relay/cdc"
)

// While a large transaction is mapped, ChildrenBefore returns the children of a parent as they were before it, and Children as they are after it.
func TestMirror_ChildrenBeforeALargeTransaction(t *testing.T) {
	t.Parallel()
	s := newFixture(t)
	parents := map[*cdc.Table]int{users: 2}
	m := s.leader.NewMirror(parents)
	m.Begin(t.Context())
	chunk := &Chunk{}
	for _, row := range []cdc.Row{childRow("kept", "x"), childRow("moved", "x"), childRow("deleted", "x")} {
		chunk.upsert(users, cdc.Key(row[0].Text), row, parents, nil)
	}
	s.must(s.leader.Commit(t.Context(), chunk, 1, 0))

	large, err := s.leader.Begin(t.Context(), m)
	s.must(err)
	relation := &cdc.Relation{Table: users}
	changed := &Chunk{}
	for _, c := range []cdc.Change{
		{Op: cdc.Update, Relation: relation, Key: "moved", Old: childRow("moved", "x"), New: childRow("moved", "y")},
		{Op: cdc.Delete, Relation: relation, Key: "deleted", Old: childRow("deleted", "x")},
		{Op: cdc.Insert, Relation: relation, Key: "inserted", New: childRow("inserted", "x")},
	} {
		m.Keep(changed, &c)
		if c.New == nil {
			changed.Delete(users, c.Key)
		} else {
			changed.upsert(users, c.Key, c.New, parents, nil)
		}
	}
	s.must(large.Write(t.Context(), changed))

	got := map[string][]string{}
	for name, children := range map[string]func(*cdc.Table, int, cdc.Key) []cdc.Row{"before": m.ChildrenBefore, "after": m.Children} {
		for _, parent := range []cdc.Key{"x", "y"} {
			for _, row := range children(users, 2, parent) {
				got[name+" "+string(parent)] = append(got[name+" "+string(parent)], row[0].Text)
			}
		}
	}
	s.must(m.Err())
	want := map[string][]string{"before x": {"deleted", "kept", "moved"}, "after x": {"inserted", "kept"}, "after y": {"moved"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}

	s.must(large.Commit(t.Context(), 2, 0, nil))
	s.must(large.End(m))
	var left int
	s.must(s.store.pool.QueryRow(t.Context(), `SELECT count(*) FROM mirror_before`).Scan(&left))
	if left != 0 {
		t.Errorf("mirror_before has %d rows after the commit", left)
	}
}
