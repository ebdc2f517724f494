package webhook

import "time"

// Schedule determines when failed deliveries are retried.
type Schedule struct {
	// Delays follow the first, second, … failed attempt. A delivery whose attempt after the last delay fails is dead.
	Delays []time.Duration
	// Jitter, between 0 and 1, varies each delay randomly by up to this fraction in both directions, so that deliveries that failed
	// together are not retried together.
	Jitter float64
}

// DefaultSchedule is the schedule of the Standard Webhooks specification: ten attempts within about 76 hours.
func DefaultSchedule() Schedule {
	return Schedule{
		Delays: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
			20 * time.Hour, 24 * time.Hour,
		},
		Jitter: 0.2,
	}
}

// Attempts is the maximum number of attempts.
func (s Schedule) Attempts() int { return len(s.Delays) + 1 }

// Next returns the delay after the given failed attempt, counted from 1, and false if it was the last one. Random is in [0, 1), as
// rand.Float64 returns it.
func (s Schedule) Next(attempt int, random float64) (time.Duration, bool) {
	if attempt < 1 || attempt > len(s.Delays) {
		return 0, false
	}
	delay := float64(s.Delays[attempt-1])
	return time.Duration(delay * (1 + s.Jitter*(2*random-1))), true
}
