package outbox

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/iam-relay/iam-relay/cdc"
)

// overlayMirror returns a mirror without a store: users have their parent's key in the third column, and the given rows are stored.
func overlayMirror(stored map[cdc.Key][]cdc.Row) *Mirror {
	m := &Mirror{parents: map[*cdc.Table]int{users: 2}, hot: rowCache{limit: DefaultMirrorLimits.Cache}}
	m.Reset()
	for parent, rows := range stored {
		m.children[parentID{users, parent}] = rows
	}
	return m
}

func childRow(key, parent string) cdc.Row {
	row := cdc.Row{cdc.TextValue(key), cdc.NullValue, cdc.NullValue}
	if parent != "" {
		row[2] = cdc.TextValue(parent)
	}
	return row
}

// Children reflect the batch: rows moved to another parent and back, deleted, and inserted again.
func TestMirror_ChildrenReflectTheBatch(t *testing.T) {
	t.Parallel()
	parents := []string{"", "x", "y", "z"}
	rapid.Check(t, func(t *rapid.T) {
		now, stored := map[string]string{}, map[cdc.Key][]cdc.Row{"x": nil, "y": nil, "z": nil}
		for _, key := range []string{"a", "b", "c", "d"} {
			parent := rapid.SampledFrom(parents).Draw(t, "stored parent")
			if now[key] = parent; parent != "" {
				stored[cdc.Key(parent)] = append(stored[cdc.Key(parent)], childRow(key, parent))
			}
		}
		m := overlayMirror(stored)
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			key, parent := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"), rapid.SampledFrom(parents).Draw(t, "parent")
			c := cdc.Change{Op: cdc.Update, Relation: &cdc.Relation{Table: users}, Key: cdc.Key(key), New: childRow(key, parent)}
			if now[key] = parent; rapid.Bool().Draw(t, "delete") {
				c.Op, c.New = cdc.Delete, nil
				delete(now, key)
			}
			m.Apply(&c)
		}
		for _, parent := range parents[1:] {
			var want, got []string
			for key, of := range now {
				if of == parent {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			for _, row := range m.Children(users, 2, cdc.Key(parent)) {
				got = append(got, row[0].Text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("children of %s (-want +got):\n%s", parent, diff)
			}
		}
	})
}

// A batch that changes the children of many parents reads the children of each. The cost depends on the parent's children, not on the
// size of the batch.
func TestMirror_ChildrenOfManyParents(t *testing.T) {
	t.Parallel()
	const n = 10_000
	stored := make(map[cdc.Key][]cdc.Row, n)
	for i := range n {
		stored[cdc.Key(fmt.Sprint(i))] = nil
	}
	m := overlayMirror(stored)
	relation := &cdc.Relation{Table: users}
	for i := range n {
		key := fmt.Sprint(i)
		m.Apply(&cdc.Change{Op: cdc.Insert, Relation: relation, Key: cdc.Key(key), New: childRow(key, key)})
	}
	began := time.Now()
	for i := range n {
		if rows := m.Children(users, 2, cdc.Key(fmt.Sprint(i))); len(rows) != 1 || rows[0][0].Text != fmt.Sprint(i) {
			t.Fatalf("the children of %d are %v", i, rows)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Fatalf("the children of %d parents took %s", i, took)
		}
	}
}
