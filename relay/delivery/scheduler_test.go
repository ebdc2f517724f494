package delivery

import (
	"fmt"
	"testing"
	"time"
)

// occupy acquires senders for a number of endpoints, and returns those that were granted.
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
	return &endpoint{group: group{tenant, host}, pacing: pacing{proven: true}}
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
			t.Errorf("%s: only %d senders used", name, len(taken))
		}
		if got := len(occupy(s, 64, func(int) *endpoint { return healthy("b", "other") })); got < 64 {
			t.Errorf("%s: a healthy tenant got %d of 64", name, got)
		}
		s.markSlow(time.Now().Add(time.Minute))
		if got := len(occupy(s, 5000, many)); got > 130 {
			t.Errorf("%s: %d more although no request ended", name, got)
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

// The hanging endpoints of a tenant do not delay its healthy one.
func TestScheduler_HealthyEndpointBesideHangingOnesOfItsTenant(t *testing.T) {
	t.Parallel()
	s := newScheduler(512)
	occupy(s, 1000, func(i int) *endpoint { return unproven("a", fmt.Sprint(i)) })
	s.markSlow(time.Now().Add(time.Minute))
	if got := len(occupy(s, 30, func(int) *endpoint { return healthy("a", "healthy") })); got < 30 {
		t.Errorf("got %d of 30", got)
	}
}

func TestScheduler_ReleaseGivesEverythingBack(t *testing.T) {
	t.Parallel()
	s := newScheduler(16)
	e := unproven("a", "h")
	p := s.acquire(e)
	s.markSlow(time.Now().Add(time.Minute))
	if e.pacing.pace() != slow {
		t.Error("an endpoint with a slow request in flight is not slow")
	}
	s.release(p)
	if e.pacing.pace() != unknown || len(s.tenants) > 0 || len(s.hosts) > 0 || len(s.permits) > 0 || s.used != [paces]int{} {
		t.Errorf("%d tenants, %d hosts, %d permits, %v used", len(s.tenants), len(s.hosts), len(s.permits), s.used)
	}
}

func TestScheduler_WorksWithOneSender(t *testing.T) {
	t.Parallel()
	s := newScheduler(1)
	for _, e := range []*endpoint{healthy("a", "h"), unproven("a", "h")} {
		p := s.acquire(e)
		if p == nil || s.acquire(e) != nil {
			t.Fatal("one sender must be granted exactly once")
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
