package delivery

import (
	"testing"
	"time"
)

func TestLimiter_KeepsTheRate(t *testing.T) {
	t.Parallel()
	var l limiter
	now := time.Now()
	if l.take(now) != 0 {
		t.Error("a request waits without a limit")
	}
	l.set(50)
	sent := 0
	for at := time.Duration(0); at < 2*time.Second; at += time.Millisecond {
		if l.take(now.Add(at)) == 0 {
			sent++
		}
	}
	if sent < 95 || sent > 106 {
		t.Errorf("%d requests in two seconds at 50 per second", sent)
	}
	if wait := l.take(now.Add(2 * time.Second)); wait < 0 || wait > 20*time.Millisecond {
		t.Errorf("the next request in %s", wait)
	}
}
