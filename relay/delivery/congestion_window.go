package delivery

import (
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// congestionWindow bounds the requests in flight to an endpoint as TCP does: slow start from one, up to ssthresh, then additive
// increase, and multiplicative decrease when the endpoint is overloaded.
type congestionWindow struct {
	most         int // never more
	size         float64
	ssthresh     float64
	lastDecrease time.Time
	responseTime time.Duration // smoothed
}

const (
	// An endpoint that answers at once is served fastest over few connections: more of them only take turns on the processor. A slower
	// one gets one more for each stepResponse of its response time.
	baseInFlight = 8
	stepResponse = 250 * time.Microsecond
	// smoothing is the weight of earlier response times.
	smoothing = 8
)

// setMax sets the maximum: the webhook's own limit, or else the general one.
func (w *congestionWindow) setMax(general, own int) {
	w.most = general
	if own > 0 {
		w.most = own
	}
	if w.size == 0 {
		w.reset()
	}
}

// reset starts over with one request: an endpoint that hangs occupies one sender, and one that was away may be busy with others.
func (w *congestionWindow) reset() { w.size, w.ssthresh = 1, float64(w.most) }

// limit is how many requests may be in flight.
func (w *congestionWindow) limit() int {
	return max(1, min(w.most, int(w.size), baseInFlight+int(w.responseTime/stepResponse)))
}

// observe takes into account an attempt that reached out. began is when it was sent.
func (w *congestionWindow) observe(o *webhook.Outcome, began time.Time) {
	w.responseTime += (o.Duration - w.responseTime) / smoothing
	switch {
	case o.Class.Verdict() == webhook.Delivered:
		if w.size < w.ssthresh {
			w.size++
		} else {
			w.size += 1 / w.size
		}
		w.size = min(w.size, float64(w.most))
	case overloaded(o) && began.After(w.lastDecrease): // once per window: requests that were in flight already say nothing new
		w.ssthresh = max(1, w.size/2)
		w.size, w.lastDecrease = w.ssthresh, time.Now()
		if o.Class == webhook.ClassTimeout {
			w.size = 1 // each request that times out occupies a sender for the whole of delivery.timeout
		}
	}
}

// overloaded reports whether the endpoint asks for fewer requests (429, and 502 and 504 as in Standard Webhooks) or cannot keep up.
func overloaded(o *webhook.Outcome) bool {
	return o.Class == webhook.ClassHTTP429 || o.Class == webhook.ClassTimeout || o.Status == 502 || o.Status == 504
}
