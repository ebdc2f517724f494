package delivery

import (
	"slices"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestBreaker_TripsOnFailuresInARow(t *testing.T) {
	t.Parallel()
	const (
		broken  = webhook.ClassHTTP5xx
		timeout = webhook.ClassTimeout
		large   = webhook.ClassPayloadTooLarge
	)
	for name, c := range map[string]struct {
		classes []webhook.Class
		trips   bool
	}{
		"too few":                        {slices.Repeat([]webhook.Class{broken}, 9), false},
		"enough":                         {slices.Repeat([]webhook.Class{broken}, 10), true},
		"three time-outs":                {slices.Repeat([]webhook.Class{timeout}, 3), true},
		"time-outs, other failures":      {[]webhook.Class{timeout, timeout, broken, timeout, timeout}, false},
		"a success in between":           {append(slices.Repeat([]webhook.Class{broken}, 9), webhook.ClassDelivered, broken), false},
		"never sent":                     {slices.Repeat([]webhook.Class{large}, 40), false},
		"time-outs, others never sent":   {[]webhook.Class{timeout, large, timeout, large, timeout}, true},
		"refused by the SSRF guard":      {slices.Repeat([]webhook.Class{webhook.ClassSSRFBlocked}, 40), false},
		"no usable URL or secret":        {slices.Repeat([]webhook.Class{webhook.ClassInvalidEndpoint}, 40), false},
		"canceled by the relay's stop":   {slices.Repeat([]webhook.Class{webhook.ClassCanceled}, 40), false},
		"no token from the OAuth server": {slices.Repeat([]webhook.Class{webhook.ClassTokenError}, 10), true},
	} {
		var b breaker
		trips := false
		for _, class := range c.classes {
			if class == webhook.ClassDelivered {
				b.succeeded()
				continue
			}
			r, _ := b.failed(&webhook.Outcome{Class: class}, &BreakerConfig{Failures: 10}, false, time.Now())
			trips = trips || r == reactTrip
		}
		if trips != c.trips {
			t.Errorf("%s: trips is %t", name, trips)
		}
	}
}

func TestBreaker_Reaction(t *testing.T) {
	t.Parallel()
	now := time.Now()
	config := BreakerConfig{Failures: 10, DisableAfter: 72 * time.Hour, DisableSpread: 12 * time.Hour}
	failing := func(since time.Duration, spans int) outbox.Health {
		return outbox.Health{FailingSince: now.Add(-since), FailingSpans: spans, FailedAt: now}
	}
	broken := webhook.Outcome{Class: webhook.ClassHTTP5xx}
	for name, c := range map[string]struct {
		b        breaker
		o        webhook.Outcome
		strict   bool
		want     reaction
		halfOpen bool
	}{
		"one failure":                    {breaker{}, broken, false, reactNot, false},
		"half-open":                      {breaker{phase: breakerHalfOpen}, broken, false, reactTrip, true},
		"half-open, never sent":          {breaker{phase: breakerHalfOpen}, webhook.Outcome{Class: webhook.ClassPayloadTooLarge}, false, reactNot, true},
		"half-open, strict":              {breaker{phase: breakerHalfOpen}, broken, true, reactNot, false},
		"half-open, Retry-After":         {breaker{phase: breakerHalfOpen}, webhook.Outcome{Class: webhook.ClassHTTP429, RetryAfter: time.Minute}, false, reactPause, false},
		"open already":                   {breaker{phase: breakerOpen, failures: 20}, broken, false, reactNot, false},
		"tenth failure":                  {breaker{failures: 9}, broken, false, reactTrip, false},
		"tenth failure, strict":          {breaker{failures: 9}, broken, true, reactNot, false},
		"gone":                           {breaker{}, webhook.Outcome{Class: webhook.ClassHTTP410}, false, reactDisableNow, false},
		"failing for long":               {breaker{Health: failing(73*time.Hour, 12)}, broken, false, reactDisable, false},
		"failing for long, but in a few": {breaker{Health: failing(73*time.Hour, 11)}, broken, false, reactNot, false},
		"failing, not for long":          {breaker{Health: failing(71*time.Hour, 12)}, broken, false, reactNot, false},
	} {
		if got, _ := c.b.failed(&c.o, &config, c.strict, now); got != c.want || c.b.halfOpen() != c.halfOpen {
			t.Errorf("%s: reaction %d, want %d; half-open is %t", name, got, c.want, c.b.halfOpen())
		}
	}
	never := breaker{Health: failing(1000*time.Hour, 12)}
	if got, _ := never.failed(&broken, &BreakerConfig{Failures: 10}, false, now); got != reactNot {
		t.Errorf("reaction %d without disable_after", got)
	}
}

func TestBreaker_PausesDoubleUpToTheMaximum(t *testing.T) {
	t.Parallel()
	var b breaker
	c := BreakerConfig{Pause: time.Minute, PauseMax: 5 * time.Minute}
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		if got := b.trip(&c, 0.5); got != want {
			t.Errorf("pause %d lasts %s, want %s", b.Pauses, got, want)
		}
	}
	if low, high := b.trip(&c, 0), b.trip(&c, 0.999); low != 4*time.Minute || high < 5*time.Minute || high > 6*time.Minute {
		t.Errorf("jitter from %s to %s", low, high)
	}
	for range 100 { // the shift must not overflow
		if got := b.trip(&c, 0.5); got != 5*time.Minute {
			t.Fatalf("pause %d lasts %s", b.Pauses, got)
		}
	}
}

func TestBreaker_LongerPauseWins(t *testing.T) {
	t.Parallel()
	var b breaker
	now := time.Now()
	if !b.pause(now.Add(time.Hour)) || b.pause(now.Add(time.Minute)) || b.remaining(now) != time.Hour {
		t.Errorf("the pause lasts another %s", b.remaining(now))
	}
	if !b.pause(now.Add(2*time.Hour)) || b.remaining(now) != 2*time.Hour {
		t.Errorf("the pause lasts another %s", b.remaining(now))
	}
}

func TestBreaker_Recovery(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var healthy breaker
	if r := healthy.succeeded(); r != (recovery{}) {
		t.Errorf("healthy: %+v", r)
	}
	once := breaker{Health: outbox.Health{FailingSince: now, FailingSpans: 1, FailedAt: now}, failures: 3}
	if r := once.succeeded(); r.notify || r.changed || once.FailingSpans != 0 || once.failures != 0 {
		t.Errorf("after few failures: %+v", r)
	}
	paused := breaker{Health: outbox.Health{FailingSince: now, Pauses: 2, PausedUntil: now}, phase: breakerHalfOpen, notified: true}
	if r := paused.succeeded(); !r.notify || !r.changed || !r.halfOpen || !r.since.Equal(now) || paused.notified || paused.open() || paused.tripped() {
		t.Errorf("after a pause: %+v, %+v", r, paused)
	}
}
