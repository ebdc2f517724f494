package webhook

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

// The timestamp is the outbox server's time, unless this machine's clock is closer to the receiver's.
func TestReceiverClock_SigningTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, c := range map[string]struct {
		server, receiver time.Duration // from this machine's
		unknown          bool          // the receiver has not answered yet
		want             time.Duration
	}{
		"all agree":                      {server: 2 * time.Second, want: 2 * time.Second},
		"nothing is known":               {server: 40 * 24 * time.Hour, unknown: true, want: 40 * 24 * time.Hour},
		"the server is wrong":            {server: 40 * 24 * time.Hour, want: 0},
		"the server is behind":           {server: -time.Hour, want: 0},
		"this machine is wrong":          {server: time.Hour, receiver: time.Hour, want: time.Hour},
		"this machine is far ahead":      {server: -48 * time.Hour, receiver: -48 * time.Hour, want: -48 * time.Hour},
		"the receiver is close to none":  {server: time.Hour, receiver: 10 * time.Hour, want: time.Hour},
		"the receiver cannot dictate it": {server: 5 * time.Second, receiver: 10 * time.Hour, want: 5 * time.Second},
	} {
		var clock receiverClock
		if !c.unknown {
			clock.record(http.Header{"Date": {now.Add(c.receiver).UTC().Format(http.TimeFormat)}})
		}
		clock.record(http.Header{"Date": {"yesterday"}}) // changes nothing
		if got := clock.signingTime(now, now.Add(c.server).Round(0)); got.Sub(now.Round(0)).Round(time.Second) != c.want {
			t.Errorf("%s: signed %s from this machine's time, want %s", name, got.Sub(now), c.want)
		}
	}
	var clocks receiverClocks
	first := clocks.of("a")
	if clocks.of("a") != first {
		t.Error("a redefined endpoint loses the receiver's clock")
	}
	if clocks.of("b") == first {
		t.Error("two hosts share a clock")
	}
	for n := range 2 * maxReceiverClocks {
		clocks.of(strconv.Itoa(n))
	}
	if n := len(clocks.byHost); n > maxReceiverClocks {
		t.Errorf("%d clocks are kept", n)
	}
	var clock receiverClock
	if got := clock.signingTime(now, time.Time{}); !got.Equal(now) {
		t.Errorf("without a server's time: %s", got)
	}
}
