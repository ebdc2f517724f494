package delivery

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

// window is how many requests an endpoint may have on their way: as many as it seems to bear. It grows with each success, at
// first by one, later by one for each window full, and is halved when the endpoint says that it is too much.
type window struct {
	most    int     // never more
	open    float64 // as many as it bears
	calm    float64 // beyond this it grows slowly
	cut     time.Time
	answers time.Duration // how long the endpoint takes to answer, smoothed
}

const (
	// An endpoint begins with one request, so that one that hangs occupies one sender, and gets twice as many with each answer. One
	// that answers at once is served fastest over few connections: more of them only take turns on the processor. One that takes its time gets more, one for each stepAnswer of it.
	baseWorkers = 8
	stepAnswer  = 250 * time.Microsecond
)

// limit sets the most: what the endpoint allows itself, or else the relay's own limit.
func (w *window) limit(general, own int) {
	w.most = general
	if own > 0 {
		w.most = own
	}
	if w.open == 0 {
		w.open, w.calm = 1, float64(w.most)
	}
}

// narrow begins anew with one: the endpoint was away, and others may wait for it too.
func (w *window) narrow() { w.open, w.calm = 1, float64(w.most) }

func (w *window) size() int {
	return max(1, min(w.most, int(w.open), baseWorkers+int(w.answers/stepAnswer)))
}

// answered takes an attempt into account that began at a time.
func (w *window) answered(o webhook.Outcome, began time.Time) {
	w.answers += (o.Duration - w.answers) / 8
	switch {
	case o.Class.Verdict() == webhook.Delivered:
		if w.open < w.calm {
			w.open++
		} else {
			w.open += 1 / w.open
		}
		w.open = min(w.open, float64(w.most))
	case tooMuch(o) && began.After(w.cut): // one for each window full: what was on its way already says nothing new
		w.calm = max(1, w.open/2)
		w.open, w.cut = w.calm, time.Now()
		if o.Class == webhook.ClassTimeout {
			w.open = 1 // each request that is not answered occupies a sender for the whole of delivery.timeout
		}
	}
}

// tooMuch reports whether an endpoint asks to be sent less, as Standard Webhooks has it, or cannot keep up.
func tooMuch(o webhook.Outcome) bool {
	return o.Class == webhook.ClassHTTP429 || o.Class == webhook.ClassTimeout || o.Status == 502 || o.Status == 504
}

// limiter bounds the requests per second; without a rate it bounds nothing.
type limiter struct{ bucket *rate.Limiter }

func (l *limiter) set(perSecond float64) {
	switch {
	case perSecond <= 0:
		l.bucket = nil
	case l.bucket == nil:
		l.bucket = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond/10)))
	default:
		l.bucket.SetLimit(rate.Limit(perSecond))
		l.bucket.SetBurst(max(1, int(perSecond/10)))
	}
}

// wait takes a request's share of the rate, or returns how long until there is one.
func (l *limiter) wait(now time.Time) time.Duration {
	if l.bucket == nil || l.bucket.AllowN(now, 1) {
		return 0
	}
	missing := 1 - l.bucket.TokensAt(now)
	return time.Duration(missing / float64(l.bucket.Limit()) * float64(time.Second))
}
