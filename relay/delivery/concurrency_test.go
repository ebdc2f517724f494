package delivery

import (
	"testing"
	"time"

	"github.com/iam-relay/iam-relay/relay/webhook"
)

func TestWindow_GrowsWithSuccessAndIsHalvedWhenItIsTooMuch(t *testing.T) {
	t.Parallel()
	var w window
	w.limit(64, 0)
	slow := webhook.Outcome{Class: webhook.ClassDelivered, Status: 204, Duration: time.Second}
	if got := w.size(); got != 1 {
		t.Fatalf("it begins with %d", got)
	}
	for range 100 {
		w.answered(slow, time.Now())
	}
	if got := w.size(); got != 64 {
		t.Fatalf("after 100 successes it is %d", got)
	}
	for _, o := range []webhook.Outcome{
		{Class: webhook.ClassHTTP429, Status: 429, Duration: time.Second},
		{Class: webhook.ClassHTTP5xx, Status: 502, Duration: time.Second},
		{Class: webhook.ClassHTTP5xx, Status: 504, Duration: time.Second},
		{Class: webhook.ClassTimeout, Duration: time.Second},
	} {
		before, began := w.size(), time.Now().Add(time.Millisecond)
		w.answered(o, began)
		left := max(1, before/2)
		if o.Class == webhook.ClassTimeout {
			left = 1
		}
		if got := w.size(); got != left {
			t.Errorf("%s %d: %d of %d are left", o.Class, o.Status, got, before)
		}
		w.answered(o, w.cut.Add(-time.Second)) // it was on its way before
		if got := w.size(); got != left {
			t.Errorf("%s %d: what was on its way has halved it again, to %d", o.Class, o.Status, got)
		}
		w.cut = time.Now().Add(-time.Second)
	}
	before := w.size()
	for _, o := range []webhook.Outcome{{Class: webhook.ClassHTTP5xx, Status: 500, Duration: time.Second}, {Class: webhook.ClassConnectRefused, Duration: time.Second}} {
		w.answered(o, time.Now())
	}
	if got := w.size(); got != before {
		t.Errorf("a failure that says nothing of the load has changed it from %d to %d", before, got)
	}
	for range before * before {
		w.answered(slow, time.Now())
	}
	if got := w.size(); got <= before || got >= 64 {
		t.Errorf("beyond where it was too much it grows slowly: from %d to %d", before, got)
	}
	for range 10 {
		w.answered(slow, time.Now())
	}
	w.limit(64, 3)
	if got := w.size(); got != 3 {
		t.Errorf("the endpoint's own limit gives %d", got)
	}
}

// An endpoint that answers at once is served over few connections, whatever it would bear.
func TestWindow_FewConnectionsToAQuickEndpoint(t *testing.T) {
	t.Parallel()
	var w window
	w.limit(64, 0)
	for range 1000 {
		w.answered(webhook.Outcome{Class: webhook.ClassDelivered, Status: 204, Duration: 100 * time.Microsecond}, time.Now())
	}
	if got := w.size(); got != baseWorkers {
		t.Errorf("%d", got)
	}
}

func TestLimiter_KeepsTheRate(t *testing.T) {
	t.Parallel()
	var l limiter
	now := time.Now()
	if l.wait(now) != 0 {
		t.Error("without a rate it waits")
	}
	l.set(50)
	sent := 0
	for at := time.Duration(0); at < 2*time.Second; at += time.Millisecond {
		if l.wait(now.Add(at)) == 0 {
			sent++
		}
	}
	if sent < 95 || sent > 106 {
		t.Errorf("%d in two seconds at 50 a second", sent)
	}
	if wait := l.wait(now.Add(2 * time.Second)); wait < 0 || wait > 20*time.Millisecond {
		t.Errorf("the next one in %s", wait)
	}
}
