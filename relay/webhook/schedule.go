package webhook

import "time"

// Schedule says when a failed delivery is tried again.
type Schedule struct {
	// Delays follow the first, second, … failed attempt. A delivery that has failed once more than there are delays is
	// dead.
	Delays []time.Duration
	// Jitter spreads each delay evenly by up to this fraction of it, in both directions, so that what failed together
	// does not come back together. From 0 to 1.
	Jitter float64
}

// DefaultSchedule is that of the Standard Webhooks specification: ten attempts within about 76 hours.
func DefaultSchedule() Schedule {
	return Schedule{
		Delays: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour,
			20 * time.Hour, 24 * time.Hour,
		},
		Jitter: 0.2,
	}
}

// Attempts is how often a delivery is tried in all.
func (s Schedule) Attempts() int { return len(s.Delays) + 1 }

// Next returns how long to wait after the given failed attempt, counted from 1; false if it was the last. Random is a
// number from [0, 1), as rand.Float64 gives it.
func (s Schedule) Next(attempt int, random float64) (time.Duration, bool) {
	if attempt < 1 || attempt > len(s.Delays) {
		return 0, false
	}
	delay := float64(s.Delays[attempt-1])
	return time.Duration(delay * (1 + s.Jitter*(2*random-1))), true
}
