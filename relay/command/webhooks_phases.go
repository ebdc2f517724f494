package command

import (
	"crypto/tls"
	"fmt"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

// phases is where the time of a request went, in milliseconds; nil for a phase that there was not.
type phases struct {
	DNS       *float64 `json:"dns_ms,omitempty"`
	Connect   *float64 `json:"connect_ms,omitempty"`
	TLS       *float64 `json:"tls_ms,omitempty"`
	FirstByte *float64 `json:"first_byte_ms,omitempty"`
}

func (p phases) String() string {
	var texts []string
	for _, phase := range []struct {
		name string
		took *float64
	}{{"dns", p.DNS}, {"connect", p.Connect}, {"tls", p.TLS}, {"first byte", p.FirstByte}} {
		if phase.took != nil {
			texts = append(texts, fmt.Sprintf("%s %.1f", phase.name, *phase.took))
		}
	}
	if texts == nil {
		return ""
	}
	return " (" + strings.Join(texts, ", ") + ")"
}

// stopwatch takes the times of one request. A connection may still be tried after its request has ended.
type stopwatch struct {
	mu                                              sync.Mutex
	lookUp, found, dial, connected, ready, answered time.Time
	secure                                          bool
}

func (s *stopwatch) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart:             func(httptrace.DNSStartInfo) { s.mark(&s.lookUp) },
		DNSDone:              func(httptrace.DNSDoneInfo) { s.mark(&s.found) },
		ConnectStart:         func(_, _ string) { s.mark(&s.dial) },
		ConnectDone:          func(_, _ string, err error) { s.markIf(err == nil, &s.connected) },
		GotFirstResponseByte: func() { s.mark(&s.answered) },
		GotConn: func(info httptrace.GotConnInfo) {
			s.mark(&s.ready)
			s.mu.Lock()
			defer s.mu.Unlock()
			_, s.secure = info.Conn.(*tls.Conn)
		},
	}
}

// mark notes the first time that something happens.
func (s *stopwatch) mark(at *time.Time) { s.markIf(true, at) }

func (s *stopwatch) markIf(happened bool, at *time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if happened && at.IsZero() {
		*at = time.Now()
	}
}

func (s *stopwatch) read() phases {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := phases{DNS: between(s.lookUp, s.found), Connect: between(s.dial, s.connected), FirstByte: between(s.ready, s.answered)}
	if s.secure { // the handshake is made while the connection is dialled
		p.TLS = between(s.connected, s.ready)
	}
	return p
}

func between(from, to time.Time) *float64 {
	if from.IsZero() || to.IsZero() {
		return nil
	}
	ms := inMilliseconds(to.Sub(from))
	return &ms
}

func inMilliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
