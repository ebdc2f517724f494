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
	// Connect is the TCP connection, all addresses that were tried included.
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
}

type span struct{ start, end time.Time }

func (s *span) length(now time.Time) time.Duration {
	switch {
	case s.start.IsZero():
		return 0
	case s.end.IsZero():
		return now.Sub(s.start)
	}
	return s.end.Sub(s.start)
}

type timingKey struct{}

// measure returns a context whose request is timed. Most requests go over a connection that is there already, so what only
// concerns new ones is left to measureDial.
func measure(ctx context.Context) (context.Context, *timing) {
	t := &timing{}
	ctx = context.WithValue(ctx, timingKey{}, t)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.answer, t.reused = span{start: time.Now()}, info.Reused
		},
		GotFirstResponseByte: func() { t.end(&t.answer) },
	}), t
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
	if s.start.IsZero() {
		s.start = time.Now()
	}
}

func (t *timing) end(s *span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.end.IsZero() {
		s.end = time.Now()
	}
}

// phases returns what is known now.
func (t *timing) phases(now time.Time) Phases {
	t.mu.Lock()
	defer t.mu.Unlock()
	var p Phases
	if !t.reused {
		p = Phases{DNS: t.dns.length(now), Connect: t.connect.length(now), TLS: t.tls.length(now)}
	}
	p.FirstByte = t.answer.length(now)
	return p
}
