package delivery

import (
	"slices"
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestCircuitBreaker_TripsOnFailuresInARow(t *testing.T) {
	t.Parallel()
	var (
		broken  = webhook.ClassHTTP5xx
		timeout = webhook.ClassTimeout
		large   = webhook.ClassPayloadTooLarge
	)
	for name, c := range map[string]struct {
		classes []webhook.Class
		trips   bool
	}{
		"too few":                          {slices.Repeat([]webhook.Class{broken}, 9), false},
		"enough":                           {slices.Repeat([]webhook.Class{broken}, 10), true},
		"fewer time-outs are enough":       {slices.Repeat([]webhook.Class{timeout}, 3), true},
		"time-outs among other failures":   {[]webhook.Class{timeout, timeout, broken, timeout, timeout}, false},
		"a success in between":             {append(slices.Repeat([]webhook.Class{broken}, 9), webhook.ClassDelivered, broken), false},
		"what was never sent":              {slices.Repeat([]webhook.Class{large}, 40), false},
		"what was never sent in between":   {[]webhook.Class{timeout, large, timeout, large, timeout}, true},
		"what the guard refused to call":   {slices.Repeat([]webhook.Class{webhook.ClassSSRFBlocked}, 40), false},
		"what has no usable URL or secret": {slices.Repeat([]webhook.Class{webhook.ClassInvalidEndpoint}, 40), false},
		"the relay stopped":                {slices.Repeat([]webhook.Class{webhook.ClassCanceled}, 40), false},
		"no token":                         {slices.Repeat([]webhook.Class{webhook.ClassTokenError}, 10), true},
	} {
		var b circuitBreaker
		trips := false
		for _, class := range c.classes {
			if class == webhook.ClassDelivered {
				b.succeeded()
				trips = false
			} else {
				trips = b.failed(class, 10) || trips
			}
		}
		if trips != c.trips {
			t.Errorf("%s: trips is %t", name, trips)
		}
	}
}

// A half-open endpoint whose next event cannot be sent at all is still half open: the event after that is its probe.
func TestCircuitBreaker_HalfOpenPassesOverWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	d, e := testEndpoint(t, "")
	e.half, e.Pauses = true, 1
	d.finish(e, &outbox.Event{ID: 1, Body: []byte("{}")}, time.Now(), webhook.Outcome{Class: webhook.ClassPayloadTooLarge})
	if !e.half || e.resting() || !e.FailingSince.IsZero() {
		t.Errorf("half open is %t, paused is %t, failing since %s", e.half, e.resting(), e.FailingSince)
	}
}
