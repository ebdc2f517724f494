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
		Log: slog.New(slog.DiscardHandler), Metrics: admin.NewMetrics(prometheus.NewRegistry()), Breaker: BreakerConfig{Failures: 10, Pause: time.Hour, PauseMax: time.Hour},
	})
	e := &endpoint{id: 1, enabled: true, served: true, sending: map[int64]string{}, order: order{blocked: map[string]int{}, ahead: map[int64]struct{}{}}}
	e.options.Ordering = ordering
	d.endpoints[1] = e
	t.Cleanup(d.close)
	return d, e
}

// A half-open endpoint sends nothing that is parked: it must not stay so without a probe.
func TestFailedProbeDoesNotStayHalfOpen(t *testing.T) {
	t.Parallel()
	for name, o := range map[webhook.Ordering]webhook.Outcome{
		"":                     {Class: webhook.ClassHTTP429, RetryAfter: time.Hour},
		webhook.OrderingStrict: {Class: webhook.ClassTimeout},
	} {
		d, e := testEndpoint(t, name)
		e.half, e.Pauses = true, 1
		d.failed(e, o)
		if e.half {
			t.Errorf("ordering %q: half open after %s", name, o.Class)
		}
	}
}

func TestLiveEndpointForgetsWhatItSentAhead(t *testing.T) {
	t.Parallel()
	d, e := testEndpoint(t, webhook.OrderingResource)
	d.head, e.ahead[5] = 10, struct{}{}
	d.place(e, 10, map[int64]outbox.CursorUpdate{})
	if len(e.ahead) > 0 {
		t.Errorf("ahead: %v", e.ahead)
	}
}

func TestPutBackKeepsOlderEvents(t *testing.T) {
	t.Parallel()
	_, e := testEndpoint(t, "")
	e.fallBehind(9)
	e.putBack(&outbox.Event{ID: 12})
	if e.readFrom != 9 {
		t.Errorf("reading goes on after %d", e.readFrom)
	}
}
