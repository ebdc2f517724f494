package delivery

import (
	"time"

	"golang.org/x/time/rate"
)

// limiter limits the requests per second. Its zero value has no limit.
type limiter struct{ bucket *rate.Limiter }

// burst allows the requests of a tenth of a second at once.
func burst(perSecond float64) int { return max(1, int(perSecond/10)) }

// set sets the limit; 0 for none.
func (l *limiter) set(perSecond float64) {
	switch {
	case perSecond <= 0:
		l.bucket = nil
	case l.bucket == nil:
		l.bucket = rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))
	default:
		l.bucket.SetLimit(rate.Limit(perSecond))
		l.bucket.SetBurst(burst(perSecond))
	}
}

func (l *limiter) limited() bool { return l.bucket != nil }

// take takes one request from the limit, or returns how long until there is one to take.
func (l *limiter) take(now time.Time) time.Duration {
	if l.bucket == nil || l.bucket.AllowN(now, 1) {
		return 0
	}
	missing := 1 - l.bucket.TokensAt(now)
	return time.Duration(missing / float64(l.bucket.Limit()) * float64(time.Second))
}
