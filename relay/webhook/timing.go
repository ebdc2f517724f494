package webhook

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// Phases breaks down the duration of an attempt. A phase that did not take place is 0, as are DNS, Connect and TLS on a reused
// connection. An unfinished phase lasts until the end of the attempt.
type Phases struct {
	// DNS is the lookup of the receiver's name, or of the proxy's.
	DNS time.Duration
	// Connect is the TCP connection, over all addresses tried. The time a proxy takes to connect to the receiver is in no phase.
	Connect time.Duration
	// TLS is the TLS handshake.
	TLS time.Duration
	// FirstByte is the time from obtaining a connection to the first byte of the response.
	FirstByte time.Duration
}

// timing collects the phases of one attempt. Transport may continue to connect after the attempt, hence the mutex.
type timing struct {
	mu                          sync.Mutex
	dns, connect, tls, response span
	reused                      bool

	trace httptrace.ClientTrace // embedded to save an allocation
}

// span is the interval between two readings of monotonic; 0 is unset.
type span struct{ start, end time.Duration }

// monotonic returns the time since start. It is a third of the size of a time.Time, of which an attempt would hold eight.
func monotonic() time.Duration { return time.Since(start) }

var start = time.Now().Add(-time.Second) // so that no reading is 0

func (s *span) length(now time.Duration) time.Duration {
	switch {
	case s.start == 0:
		return 0
	case s.end == 0:
		return now - s.start
	}
	return s.end - s.start
}

type timingKey struct{}

// traceRequest returns a context that records the phases of a request. Most requests reuse a connection, so the hooks for new
// ones are left to traceDial.
func traceRequest(ctx context.Context) (context.Context, *timing) {
	t := &timing{}
	t.trace.GotConn = func(info httptrace.GotConnInfo) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.response, t.reused = span{start: monotonic()}, info.Reused
	}
	t.trace.GotFirstResponseByte = func() { t.end(&t.response) }
	return httptrace.WithClientTrace(context.WithValue(ctx, timingKey{}, t), &t.trace), t
}

// traceDial returns a context that records the phases of connecting, for the request that needed the connection.
func traceDial(ctx context.Context) (context.Context, *timing) {
	t, ok := ctx.Value(timingKey{}).(*timing)
	if !ok {
		return ctx, &timing{}
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(httptrace.DNSStartInfo) { t.begin(&t.dns) },
		DNSDone:      func(httptrace.DNSDoneInfo) { t.end(&t.dns) },
		ConnectStart: func(string, string) { t.begin(&t.connect) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				t.end(&t.connect)
			}
		},
	}), t
}

func (t *timing) begin(s *span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.start == 0 {
		s.start = monotonic()
	}
}

func (t *timing) end(s *span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.end == 0 {
		s.end = monotonic()
	}
}

// phases returns the phases so far.
func (t *timing) phases() Phases {
	t.mu.Lock()
	defer t.mu.Unlock()
	var p Phases
	now := monotonic()
	if !t.reused {
		p = Phases{DNS: t.dns.length(now), Connect: t.connect.length(now), TLS: t.tls.length(now)}
	}
	p.FirstByte = t.response.length(now)
	return p
}
