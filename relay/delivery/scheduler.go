package delivery

import "time"

// scheduler shares the senders, a fixed number of concurrent requests, so that no tenant, no host and no slow endpoint can take those of
// the others:
//
//   - Slow endpoints together have at most half of the senders, slow and unknown ones at most three quarters. The rest is always free for
//     endpoints that are proven to answer quickly.
//   - A tenant, and a host, may occupy of each of these parts at most as many as are still free (the dynamic threshold of Choudhury and
//     Hahne): one alone gets half, two get a third each, and something is left for one that comes later.
//   - Endpoints that cannot have a sender wait in a fairQueue for each pace. The paces take turns.
type scheduler struct {
	limit   [paces]int // for this pace and slower ones together
	used    [paces]int // by this pace alone
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
	slow     bool // its request was found to be slow
}

func newScheduler(senders int) *scheduler {
	return &scheduler{
		limit:   [paces]int{proven: senders, unknown: max(1, senders*3/4), slow: max(1, senders/2)},
		tenants: map[string]*[paces]int{}, hosts: map[string]*[paces]int{}, permits: map[*permit]struct{}{},
	}
}

// atLeast counts the senders used by a pace and slower ones.
func atLeast(p pace, used *[paces]int) (n int) {
	if used == nil {
		return 0
	}
	for ; p < paces; p++ {
		n += used[p]
	}
	return n
}

// free is how many senders are free for endpoints of the pace.
func (s *scheduler) free(p pace) int {
	free := s.limit[p] - atLeast(p, &s.used)
	for faster := range p {
		free = min(free, s.limit[faster]-atLeast(faster, &s.used))
	}
	return free
}

// admits reports whether an endpoint of the group may have a sender.
func (s *scheduler) admits(g group, p pace) bool {
	free := s.free(p)
	return atLeast(p, s.tenants[g.tenant]) < free && atLeast(p, s.hosts[g.host]) < free
}

// acquire takes a sender for the endpoint, or returns nil if it may not have one now.
func (s *scheduler) acquire(e *endpoint) *permit {
	p := &permit{endpoint: e, group: e.group, pace: e.pacing.pace(), since: time.Now()}
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
	if p.slow {
		p.endpoint.pacing.slowInFlight--
	}
}

func (s *scheduler) inUse() int { return len(s.permits) }

// prompt is how many senders are in use by requests that have not been found to be slow.
func (s *scheduler) prompt() (n int) {
	for p := range s.permits {
		if !p.slow {
			n++
		}
	}
	return n
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

// markSlow makes endpoints slow whose requests have been in flight for slowAfter.
func (s *scheduler) markSlow(now time.Time) {
	for p := range s.permits {
		if p.slow || now.Sub(p.since) < slowAfter {
			continue
		}
		s.count(p, -1)
		p.pace, p.slow = slow, true
		p.endpoint.pacing.slowInFlight++
		s.count(p, 1)
	}
}

// wait queues the endpoint for a sender.
func (s *scheduler) wait(e *endpoint) {
	if !e.waitingForSender {
		e.waitingForSender = true
		s.waiting[e.pacing.pace()].push(e.group, e)
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
			func(tenant string) bool { return atLeast(p, s.tenants[tenant]) < free },
			func(g group) bool { return atLeast(p, s.hosts[g.host]) < free },
		)
		if ok {
			s.turn = int(p) + 1
			e.waitingForSender = false
			return e
		}
	}
	return nil
}
