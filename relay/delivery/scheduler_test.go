package delivery

import (
	"fmt"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
)

// occupy takes as many senders as endpoints, made by a function, can get.
func occupy(s *scheduler, tries int, endpoints func(i int) *endpoint) (permits []*permit) {
	for i := range tries {
		if p := s.acquire(endpoints(i)); p != nil {
			permits = append(permits, p)
		}
	}
	return permits
}

func unproven(tenant, host string) *endpoint { return &endpoint{group: group{tenant, host}} }

func healthy(tenant, host string) *endpoint {
	return &endpoint{group: group{tenant, host}, health: health{proven: true}}
}

func TestScheduler_LeavesSendersForOthers(t *testing.T) {
	t.Parallel()
	for name, many := range map[string]func(i int) *endpoint{
		"one tenant, many hosts":           func(i int) *endpoint { return unproven("a", fmt.Sprint(i)) },
		"many tenants, one host":           func(i int) *endpoint { return unproven(fmt.Sprint(i), "h") },
		"many tenants, many hosts":         func(i int) *endpoint { return unproven(fmt.Sprint(i), fmt.Sprint(i)) },
		"one tenant that was proven":       func(i int) *endpoint { return healthy("a", fmt.Sprint(i)) },
		"one host that was proven":         func(i int) *endpoint { return healthy(fmt.Sprint(i), "h") },
		"the tenant of all other webhooks": func(i int) *endpoint { return unproven("*", fmt.Sprint(i)) },
	} {
		s := newScheduler(512)
		taken := occupy(s, 5000, many)
		if len(taken) < 150 {
			t.Errorf("%s: only %d senders were used", name, len(taken))
		}
		if got := len(occupy(s, 64, func(int) *endpoint { return healthy("b", "other") })); got < 64 {
			t.Errorf("%s: a healthy tenant has got %d of 64", name, got)
		}
		s.age(time.Now().Add(time.Minute))
		if got := len(occupy(s, 5000, many)); got > 130 {
			t.Errorf("%s: %d more were let in although nothing had ended", name, got)
		}
		if name != "many tenants, many hosts" && name != "one host that was proven" && name != "one tenant that was proven" {
			if s.acquire(unproven("c", "new")) == nil {
				t.Errorf("%s: a new endpoint of another tenant gets nothing", name)
			}
		}
		for _, p := range taken {
			s.release(p)
		}
	}
}

// A healthy endpoint of a tenant is not held up by that tenant's own hanging ones.
func TestScheduler_HealthyEndpointBesideHangingOnesOfItsTenant(t *testing.T) {
	t.Parallel()
	s := newScheduler(512)
	occupy(s, 1000, func(i int) *endpoint { return unproven("a", fmt.Sprint(i)) })
	s.age(time.Now().Add(time.Minute))
	if got := len(occupy(s, 30, func(int) *endpoint { return healthy("a", "healthy") })); got < 30 {
		t.Errorf("it got %d of 30", got)
	}
}

func TestScheduler_ReleaseGivesEverythingBack(t *testing.T) {
	t.Parallel()
	s := newScheduler(16)
	e := unproven("a", "h")
	p := s.acquire(e)
	s.age(time.Now().Add(time.Minute))
	if e.pace() != slow {
		t.Error("an endpoint with a request that takes long is not slow")
	}
	s.release(p)
	if e.pace() != unknown || len(s.tenants) > 0 || len(s.hosts) > 0 || len(s.permits) > 0 || s.used != [paces]int{} {
		t.Errorf("%d tenants, %d hosts, %d permits, %v used", len(s.tenants), len(s.hosts), len(s.permits), s.used)
	}
}

func TestScheduler_WorksWithOneSender(t *testing.T) {
	t.Parallel()
	s := newScheduler(1)
	for _, e := range []*endpoint{healthy("a", "h"), unproven("a", "h")} {
		p := s.acquire(e)
		if p == nil || s.acquire(e) != nil {
			t.Fatal("one sender is not given once")
		}
		s.release(p)
	}
}

func TestScheduler_TenantsAndHostsTakeTurns(t *testing.T) {
	t.Parallel()
	s := newScheduler(100)
	for i := range 1000 {
		s.wait(healthy("a", fmt.Sprint(i%3)))
	}
	s.wait(healthy("b", "x"))
	first, second := s.next(), s.next()
	if first.group.tenant != "a" || second.group.tenant != "b" {
		t.Errorf("turns: %v, %v", first.group, second.group)
	}
	if third, fourth := s.next(), s.next(); third.group.host == fourth.group.host || third.group.host == first.group.host {
		t.Errorf("hosts: %s, %s, %s", first.group.host, third.group.host, fourth.group.host)
	}
}

func TestFairQueue_SkipsWhoMayNot(t *testing.T) {
	t.Parallel()
	var q fairQueue[int]
	q.push(group{"a", "h"}, 1)
	q.push(group{"a", "i"}, 2)
	q.push(group{"b", "i"}, 3)
	all := func(string) bool { return true }
	notH := func(g group) bool { return g.host != "h" }
	for _, want := range []int{2, 3} {
		if v, ok := q.next(all, notH); !ok || v != want {
			t.Errorf("%d, not %d", v, want)
		}
	}
	if v, ok := q.next(all, notH); ok {
		t.Errorf("%d may not", v)
	}
	if v, ok := q.next(all, func(group) bool { return true }); !ok || v != 1 || q.len() != 0 || len(q.tenants) > 0 || len(q.byTenant) > 0 {
		t.Errorf("%d; %d are left", v, q.len())
	}
}

func TestEventPool_CountsEachBodyOnce(t *testing.T) {
	t.Parallel()
	p := newEventPool(1000)
	event := func(id int64, size int) *outbox.Event { return &outbox.Event{ID: id, Body: make([]byte, size)} }
	first := p.hold("a", event(1, 100))
	for range 50 {
		if p.hold("a", event(1, 100)) != first || p.hold("b", event(1, 100)) != first {
			t.Fatal("another body of the same event is held")
		}
	}
	if p.bytes != 100 || p.room("a", proven) != 800 || p.room("a", slow) != 350 || p.room("c", proven) != 900 {
		t.Errorf("%d bytes, room %d, %d, %d", p.bytes, p.room("a", proven), p.room("a", slow), p.room("c", proven))
	}
	p.hold("a", event(2, 400))
	if p.mayHold("a", proven) || !p.mayHold("c", proven) {
		t.Error("a tenant that holds as much as is free may read on, or another may not")
	}
	for range 51 {
		p.release("a", 1)
		p.release("b", 1)
	}
	p.release("a", 2)
	if p.bytes != 0 || len(p.events) > 0 || len(p.tenants) > 0 {
		t.Errorf("%d bytes, %d events, %d tenants are left", p.bytes, len(p.events), len(p.tenants))
	}
}
