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

// overlayMirror has users by their third column, without a store: the parents have the given stored children.
func overlayMirror(stored map[cdc.Key][]cdc.Row) *Mirror {
	m := &Mirror{parents: map[*cdc.Table]int{users: 2}, hot: rowCache{limit: mirrorCache}}
	m.Reset()
	for owner, rows := range stored {
		m.children[parentID{users, owner}] = rows
	}
	return m
}

func ownedRow(key, owner string) cdc.Row {
	row := cdc.Row{cdc.TextValue(key), cdc.NullValue, cdc.NullValue}
	if owner != "" {
		row[2] = cdc.TextValue(owner)
	}
	return row
}

// Children are those of the store with what the batch made of them: moved to another owner and back, deleted, inserted again.
func TestMirror_ChildrenAreOfTheBatch(t *testing.T) {
	t.Parallel()
	parents := []string{"", "x", "y", "z"}
	rapid.Check(t, func(t *rapid.T) {
		now, stored := map[string]string{}, map[cdc.Key][]cdc.Row{"x": nil, "y": nil, "z": nil}
		for _, key := range []string{"a", "b", "c", "d"} {
			owner := rapid.SampledFrom(parents).Draw(t, "stored owner")
			if now[key] = owner; owner != "" {
				stored[cdc.Key(owner)] = append(stored[cdc.Key(owner)], ownedRow(key, owner))
			}
		}
		m := overlayMirror(stored)
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			key, owner := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "key"), rapid.SampledFrom(parents).Draw(t, "owner")
			c := cdc.Change{Op: cdc.Update, Relation: &cdc.Relation{Table: users}, Key: cdc.Key(key), New: ownedRow(key, owner)}
			if now[key] = owner; rapid.Bool().Draw(t, "delete") {
				c.Op, c.New = cdc.Delete, nil
				delete(now, key)
			}
			m.Apply(&c)
		}
		for _, owner := range parents[1:] {
			var want, got []string
			for key, of := range now {
				if of == owner {
					want = append(want, key)
				}
			}
			slices.Sort(want)
			for _, row := range m.Children(users, 2, cdc.Key(owner)) {
				got = append(got, row[0].Text)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("children of %s (-want +got):\n%s", owner, diff)
			}
		}
	})
}

// A batch that changes the children of many parents asks for those of each of them. That costs what the parent has, not what the
// batch has.
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
		m.Apply(&cdc.Change{Op: cdc.Insert, Relation: relation, Key: cdc.Key(key), New: ownedRow(key, key)})
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
