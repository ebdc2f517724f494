package delivery

import "time"

// pace is what an endpoint's last attempts say about how long a request to it will occupy a sender.
type pace uint8

const (
	proven  pace = iota // the last attempt succeeded soon
	unknown             // there was none yet, or it failed soon
	slow                // it timed out or took long, or one on its way does
	paces
)

// slowAfter is how long a request may take before its endpoint is slow.
const slowAfter = time.Second

// scheduler shares a number of concurrent requests, the senders, so that no tenant, no host and no slow endpoint can take those
// of the others:
//
//   - Slow endpoints together have at most a half of the senders, slow and unknown ones at most three quarters. The rest is always
//     there for endpoints that are known to answer soon.
//   - Of each of these parts a tenant, and a host, may occupy at most as many as are still free (the dynamic threshold of
//     Choudhury and Hahne): one alone gets a half, two get a third each, and for one that comes later something is left.
//   - Endpoints that cannot have a sender wait in a fairQueue for each pace; the paces take turns.
type scheduler struct {
	limit   [paces]int // of this pace and slower ones together
	used    [paces]int // of this pace alone
	tenants map[string]*[paces]int
	hosts   map[string]*[paces]int
	permits map[*permit]struct{}
	waiting [paces]fairQueue[*endpoint]
	turn    int
}

// permit is one sender in use.
type permit struct {
	endpoint *endpoint
	group    group
	pace     pace
	since    time.Time
	lingers  bool // it was moved to the slow ones
}

func newScheduler(senders int) *scheduler {
	return &scheduler{
		limit:   [paces]int{proven: senders, unknown: max(1, senders*3/4), slow: max(1, senders/2)},
		tenants: map[string]*[paces]int{}, hosts: map[string]*[paces]int{}, permits: map[*permit]struct{}{},
	}
}

// from counts what is of a pace or slower.
func from(p pace, used *[paces]int) (n int) {
	if used == nil {
		return 0
	}
	for ; p < paces; p++ {
		n += used[p]
	}
	return n
}

// free is how many senders an endpoint of the pace could have if it were alone.
func (s *scheduler) free(p pace) int {
	free := s.limit[p] - from(p, &s.used)
	for faster := range p {
		free = min(free, s.limit[faster]-from(faster, &s.used))
	}
	return free
}

func (s *scheduler) admits(g group, p pace) bool {
	free := s.free(p)
	return from(p, s.tenants[g.tenant]) < free && from(p, s.hosts[g.host]) < free
}

// acquire takes a sender for the endpoint, or returns nil if it may not have one now.
func (s *scheduler) acquire(e *endpoint) *permit {
	p := &permit{endpoint: e, group: e.group, pace: e.pace(), since: time.Now()}
	if !s.admits(p.group, p.pace) {
		return nil
	}
	s.permits[p] = struct{}{}
	s.count(p, 1)
	return p
}

func (s *scheduler) release(p *permit) {
	delete(s.permits, p)
	s.count(p, -1)
	if p.lingers {
		p.endpoint.lingering--
	}
}

func (s *scheduler) count(p *permit, n int) {
	s.used[p.pace] += n
	add(s.tenants, p.group.tenant, p.pace, n)
	add(s.hosts, p.group.host, p.pace, n)
}

func add(counts map[string]*[paces]int, key string, p pace, n int) {
	c := counts[key]
	if c == nil {
		c = new([paces]int)
		counts[key] = c
	}
	if c[p] += n; *c == ([paces]int{}) {
		delete(counts, key)
	}
}

// age makes the endpoints slow whose requests have been on their way for long.
func (s *scheduler) age(now time.Time) {
	for p := range s.permits {
		if p.lingers || now.Sub(p.since) < slowAfter {
			continue
		}
		s.count(p, -1)
		p.pace, p.lingers = slow, true
		p.endpoint.lingering++
		s.count(p, 1)
	}
}

// wait queues the endpoint for a sender.
func (s *scheduler) wait(e *endpoint) {
	if !e.waiting {
		e.waiting = true
		s.waiting[e.pace()].push(e.group, e)
	}
}

// next returns the endpoint whose turn it is and that may have a sender, or nil.
func (s *scheduler) next() *endpoint {
	for i := range s.waiting {
		p := pace((s.turn + i) % int(paces))
		if s.waiting[p].len() == 0 || s.free(p) <= 0 {
			continue
		}
		free := s.free(p)
		e, ok := s.waiting[p].next(
			func(tenant string) bool { return from(p, s.tenants[tenant]) < free },
			func(g group) bool { return from(p, s.hosts[g.host]) < free },
		)
		if ok {
			s.turn = int(p) + 1
			e.waiting = false
			return e
		}
	}
	return nil
}
