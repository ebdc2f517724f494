package delivery

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestCongestionWindow_GrowsWithSuccessAndHalvesOnOverload(t *testing.T) {
	t.Parallel()
	var w congestionWindow
	w.setMax(64, 0)
	slow := webhook.Outcome{Class: webhook.ClassDelivered, Status: 204, Duration: time.Second}
	if got := w.limit(); got != 1 {
		t.Fatalf("starts with %d, want 1", got)
	}
	for range 100 {
		w.observe(&slow, time.Now())
	}
	if got := w.limit(); got != 64 {
		t.Fatalf("%d after 100 successes, want 64", got)
	}
	for _, o := range []webhook.Outcome{
		{Class: webhook.ClassHTTP429, Status: 429, Duration: time.Second},
		{Class: webhook.ClassHTTP5xx, Status: 502, Duration: time.Second},
		{Class: webhook.ClassHTTP5xx, Status: 504, Duration: time.Second},
		{Class: webhook.ClassTimeout, Duration: time.Second},
	} {
		before, began := w.limit(), time.Now().Add(time.Millisecond)
		w.observe(&o, began)
		left := max(1, before/2)
		if o.Class == webhook.ClassTimeout {
			left = 1
		}
		if got := w.limit(); got != left {
			t.Errorf("%s %d: %d of %d left", o.Class, o.Status, got, before)
		}
		w.observe(&o, w.lastDecrease.Add(-time.Second)) // was in flight before
		if got := w.limit(); got != left {
			t.Errorf("%s %d: a request from before has halved it again, to %d", o.Class, o.Status, got)
		}
		w.lastDecrease = time.Now().Add(-time.Second)
	}
	before := w.limit()
	for _, o := range []webhook.Outcome{{Class: webhook.ClassHTTP5xx, Status: 500, Duration: time.Second}, {Class: webhook.ClassConnectRefused, Duration: time.Second}} {
		w.observe(&o, time.Now())
	}
	if got := w.limit(); got != before {
		t.Errorf("a failure that says nothing about the load has changed it from %d to %d", before, got)
	}
	for range before * before {
		w.observe(&slow, time.Now())
	}
	if got := w.limit(); got <= before || got >= 64 {
		t.Errorf("beyond ssthresh it must grow slowly: from %d to %d", before, got)
	}
	for range 10 {
		w.observe(&slow, time.Now())
	}
	w.setMax(64, 3)
	if got := w.limit(); got != 3 {
		t.Errorf("%d, want the webhook's own limit", got)
	}
}

// An endpoint that answers at once is served over few connections, however many it would accept.
func TestCongestionWindow_FewConnectionsToAQuickEndpoint(t *testing.T) {
	t.Parallel()
	var w congestionWindow
	w.setMax(64, 0)
	for range 1000 {
		w.observe(&webhook.Outcome{Class: webhook.ClassDelivered, Status: 204, Duration: 100 * time.Microsecond}, time.Now())
	}
	if got := w.limit(); got != baseInFlight {
		t.Errorf("%d in flight, want %d", got, baseInFlight)
	}
}
