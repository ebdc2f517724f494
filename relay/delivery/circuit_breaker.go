package delivery

import "github.com/iam-relay/iam-relay/relay/webhook"

// timeoutsToTrip is how many time-outs in a row open a breaker, if its configuration does not open it sooner. Each of them has
// occupied a sender for the whole of delivery.timeout, so fewer are put up with than of failures that come at once.
const timeoutsToTrip = 3

// circuitBreaker counts an endpoint's failures in a row and says when they are enough to pause it. Only attempts that reached
// out count (webhook.Class.ReachedOut): what the relay itself refused to send says nothing about the endpoint.
type circuitBreaker struct {
	failures int // since the last success
	timeouts int // since the last attempt that did not time out
}

// succeeded closes the breaker.
func (b *circuitBreaker) succeeded() { *b = circuitBreaker{} }

// failed counts a failed attempt and reports whether the breaker opens, which it does after so many failures in a row.
func (b *circuitBreaker) failed(class webhook.Class, failuresToTrip int) (trip bool) {
	if !class.ReachedOut() {
		return false
	}
	b.failures++
	if class == webhook.ClassTimeout {
		b.timeouts++
	} else {
		b.timeouts = 0
	}
	return b.failures >= failuresToTrip || b.timeouts >= min(timeoutsToTrip, failuresToTrip)
}
