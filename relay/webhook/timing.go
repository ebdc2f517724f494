package webhook

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// Phases say where the time of an attempt went. One that did not take place is 0, as are the first three on a connection that was
// kept alive; one that did not end took until the attempt did.
type Phases struct {
	// DNS is the lookup of the name, the egress proxy's where there is one.
	DNS time.Duration
	// Connect is the TCP connection, all addresses that were tried included. What an egress proxy takes to connect further is in
	// none of the phases.
	Connect time.Duration
	// TLS is the handshake.
	TLS time.Duration
	// FirstByte is from having a connection, over sending the request, to the first byte of the answer.
	FirstByte time.Duration
}

// timing collects the phases of one attempt. Connecting may go on after the attempt has ended, so all of it is guarded.
type timing struct {
	mu                        sync.Mutex
	dns, connect, tls, answer span
	reused                    bool

	trace httptrace.ClientTrace // here, so that it is no allocation of its own
}

// span is a stretch of time between two clock readings; 0 is none.
type span struct{ start, end time.Duration }

// clock is a third of the size of a time.Time, of which one attempt would hold eight.
func clock() time.Duration { return time.Since(epoch) }

var epoch = time.Now().Add(-time.Second)

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

// measure returns a context whose request is timed. Most requests go over a connection that is there already, so what only
// concerns new ones is left to measureDial.
func measure(ctx context.Context) (context.Context, *timing) {
	t := &timing{}
	t.trace.GotConn = func(info httptrace.GotConnInfo) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.answer, t.reused = span{start: clock()}, info.Reused
	}
	t.trace.GotFirstResponseByte = func() { t.end(&t.answer) }
	return httptrace.WithClientTrace(context.WithValue(ctx, timingKey{}, t), &t.trace), t
}

// measureDial returns a context whose dialling is timed, for the request that wanted the connection.
func measureDial(ctx context.Context) (context.Context, *timing) {
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
		s.start = clock()
	}
}

func (t *timing) end(s *span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.end == 0 {
		s.end = clock()
	}
}

// phases returns what is known now.
func (t *timing) phases() Phases {
	t.mu.Lock()
	defer t.mu.Unlock()
	var p Phases
	now := clock()
	if !t.reused {
		p = Phases{DNS: t.dns.length(now), Connect: t.connect.length(now), TLS: t.tls.length(now)}
	}
	p.FirstByte = t.answer.length(now)
	return p
}
