package delivery

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/iam-relay/iam-relay/relay/admin"
	"github.com/iam-relay/iam-relay/relay/outbox"
	"github.com/iam-relay/iam-relay/relay/webhook"
)

func testEndpoint(t *testing.T, ordering webhook.Ordering) (*Dispatcher, *endpoint) {
	t.Helper()
	d := New(Config{
		Log: slog.New(slog.DiscardHandler), Metrics: admin.NewMetrics(prometheus.NewRegistry()),
		Breaker: BreakerConfig{Failures: 10, Pause: time.Hour, PauseMax: time.Hour},
	})
	e := &endpoint{id: 1, lifecycle: lifecycle{enabled: true, owned: true}, queue: newQueue(d.pool, "t")}
	e.options.Ordering, e.queue.ordering = ordering, ordering
	d.endpoints[1] = e
	t.Cleanup(d.drain)
	return d, e
}

// No retry is sent to a half-open endpoint, so it must not stay half-open without a probe.
func TestEndpoint_FailedProbeEndsHalfOpen(t *testing.T) {
	t.Parallel()
	for ordering, o := range map[webhook.Ordering]webhook.Outcome{
		"":                     {Class: webhook.ClassHTTP429, RetryAfter: time.Hour},
		webhook.OrderingStrict: {Class: webhook.ClassTimeout},
	} {
		d, e := testEndpoint(t, ordering)
		e.breaker.Pauses = 1
		e.probeReady()
		d.failed(e, &o)
		if e.breaker.halfOpen() {
			t.Errorf("ordering %q: half-open after %s", ordering, o.Class)
		}
	}
}

// If the next event of a half-open endpoint cannot be sent at all, the event after it is the probe.
func TestEndpoint_StaysHalfOpenIfProbeCannotBeSent(t *testing.T) {
	t.Parallel()
	d, e := testEndpoint(t, "")
	e.breaker.Pauses = 1
	e.probeReady()
	d.finishAttempt(e, &outbox.Event{ID: 1, Body: []byte("{}")}, time.Now(), &webhook.Outcome{Class: webhook.ClassPayloadTooLarge})
	if e.state() != stateHalfOpen || !e.breaker.FailingSince.IsZero() {
		t.Errorf("state %s, failing since %s", e.state(), e.breaker.FailingSince)
	}
}

func TestEndpoint_PutBackNeverMovesReadingForward(t *testing.T) {
	t.Parallel()
	_, e := testEndpoint(t, "")
	e.fellBehind(9)
	e.putBack(&outbox.Event{ID: 12})
	if e.cursor.readFrom != 9 {
		t.Errorf("reads on from %d, want 9", e.cursor.readFrom)
	}
}

// A Retry-After pause that arrives while the probe is being looked for ends that probe: the next one follows the pause.
func TestEndpoint_PauseOutlastsProbe(t *testing.T) {
	t.Parallel()
	_, e := testEndpoint(t, "")
	e.probeWanted()
	e.paused(time.Now().Add(time.Hour), 0)
	e.probeSettled(time.Now())
	if e.state() != statePaused {
		t.Errorf("state %s, want paused", e.state())
	}
}
