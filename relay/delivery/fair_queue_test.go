package delivery

import "testing"

func TestFairQueue_SkipsGroupsWithoutPermission(t *testing.T) {
	t.Parallel()
	var q fairQueue[int]
	q.push(group{"a", "h"}, 1)
	q.push(group{"a", "i"}, 2)
	q.push(group{"b", "i"}, 3)
	all := func(string) bool { return true }
	notH := func(g group) bool { return g.host != "h" }
	for _, want := range []int{2, 3} {
		if v, ok := q.next(all, notH); !ok || v != want {
			t.Errorf("got %d, want %d", v, want)
		}
	}
	if v, ok := q.next(all, notH); ok {
		t.Errorf("got %d without permission", v)
	}
	if v, ok := q.next(all, func(group) bool { return true }); !ok || v != 1 || q.len() != 0 || len(q.tenants) > 0 || len(q.byTenant) > 0 {
		t.Errorf("got %d; %d left", v, q.len())
	}
}
