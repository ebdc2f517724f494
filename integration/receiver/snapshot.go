package receiver

import (
	"context"
	"fmt"
	"slices"
)

// Snapshot is what has arrived so far. A webhook-id counts once for each path.
type Snapshot struct {
	Requests int
	// Accepted requests were answered 2xx, or were about to be when the sender gave up; Distinct is how many of them were the
	// first of their webhook-id, Duplicates the others. Refused requests, and those that hang, are neither.
	Accepted, Distinct, Duplicates int
	// Verified requests carried all expected signatures; Faulty ones have Problems.
	Verified, Faulty int
	// FirstProblem is of the first faulty request.
	FirstProblem string
	// Deliveries are all requests in the order of arrival; nil where the receiver only counts.
	Deliveries []Delivery
}

func (s *Snapshot) add(d *Delivery, accepted, keep bool) {
	s.Requests++
	switch {
	case accepted && d.Duplicate:
		s.Accepted, s.Duplicates = s.Accepted+1, s.Duplicates+1
	case accepted:
		s.Accepted, s.Distinct = s.Accepted+1, s.Distinct+1
	}
	if d.Verified {
		s.Verified++
	}
	if len(d.Problems) > 0 {
		if s.Faulty == 0 {
			s.FirstProblem = fmt.Sprintf("%s %s: %q", d.Path, d.ID, d.Problems)
		}
		s.Faulty++
	}
	if keep {
		s.Deliveries = append(s.Deliveries, *d)
	}
}

// DistinctOn counts the webhook-ids that a path has accepted.
func (s *Snapshot) DistinctOn(path string) (n int) {
	for i := range s.Deliveries {
		if d := &s.Deliveries[i]; d.Path == path && d.Status/100 == 2 && !d.Duplicate {
			n++
		}
	}
	return n
}

// Snapshot returns the state of this moment. Its Deliveries are shared: read them only.
func (r *Receiver) Snapshot() Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.clip()
}

// clip keeps the caller's appends out of the receiver's own slice.
func (s Snapshot) clip() Snapshot {
	s.Deliveries = slices.Clip(s.Deliveries)
	return s
}

// Wait returns the first state in which the condition holds. The condition is called at once and then after every request,
// with a Snapshot that it must not keep, and it must not call the Receiver. The error describes the state at the end of ctx.
func (r *Receiver) Wait(ctx context.Context, condition func(*Snapshot) bool) (Snapshot, error) {
	stop := context.AfterFunc(ctx, func() {
		// With the lock, so that the signal cannot fall between a look at ctx and the wait.
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
	defer stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	for !condition(&r.state) {
		if ctx.Err() != nil {
			s := r.state.clip()
			return s, fmt.Errorf("wait for deliveries: %w after %d requests, %d accepted, %d distinct, %d duplicate, %d faulty", context.Cause(ctx), s.Requests, s.Accepted, s.Distinct, s.Duplicates, s.Faulty)
		}
		r.changed.Wait()
	}
	return r.state.clip(), nil
}

// Reset forgets all that has arrived, webhook-ids included.
func (r *Receiver) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = Snapshot{}
	clear(r.seen)
}
