package delivery

import "slices"

// group identifies the endpoints that share turns: those of a tenant, and those on a host.
type group struct{ tenant, host string }

// fairQueue is a round-robin queue: tenants take turns, within a tenant its hosts, and a host's elements come in the order of arrival. A
// tenant with a thousand waiting endpoints gets no more turns than one with a single endpoint.
type fairQueue[T any] struct {
	tenants  []*tenantTurns[T] // in the order of their turns
	byTenant map[string]*tenantTurns[T]
	length   int
}

type tenantTurns[T any] struct {
	name   string
	hosts  []*hostTurns[T]
	byHost map[string]*hostTurns[T]
}

type hostTurns[T any] struct {
	name    string
	waiting []T
}

func (q *fairQueue[T]) len() int { return q.length }

func (q *fairQueue[T]) push(g group, v T) {
	t := q.byTenant[g.tenant]
	if t == nil {
		t = &tenantTurns[T]{name: g.tenant, byHost: map[string]*hostTurns[T]{}}
		if q.byTenant == nil {
			q.byTenant = map[string]*tenantTurns[T]{}
		}
		q.byTenant[g.tenant] = t
		q.tenants = append(q.tenants, t)
	}
	h := t.byHost[g.host]
	if h == nil {
		h = &hostTurns[T]{name: g.host}
		t.byHost[g.host] = h
		t.hosts = append(t.hosts, h)
	}
	h.waiting = append(h.waiting, v)
	q.length++
}

// next removes and returns the first element whose tenant and group may have a turn.
func (q *fairQueue[T]) next(mayTenant func(tenant string) bool, may func(group) bool) (v T, ok bool) {
	for i, t := range q.tenants {
		if !mayTenant(t.name) {
			continue
		}
		for j, h := range t.hosts {
			if may(group{t.name, h.name}) {
				v = h.waiting[0]
				q.take(i, j)
				return v, true
			}
		}
	}
	return v, false
}

// take removes the first element of a host, and moves the host and the tenant to the end.
func (q *fairQueue[T]) take(tenant, host int) {
	t := q.tenants[tenant]
	h := t.hosts[host]
	var none T
	h.waiting[0] = none
	h.waiting = h.waiting[1:]
	q.length--
	t.hosts = slices.Delete(t.hosts, host, host+1)
	if len(h.waiting) > 0 {
		t.hosts = append(t.hosts, h)
	} else {
		delete(t.byHost, h.name)
	}
	q.tenants = slices.Delete(q.tenants, tenant, tenant+1)
	if len(t.hosts) > 0 {
		q.tenants = append(q.tenants, t)
	} else {
		delete(q.byTenant, t.name)
	}
}
