package webhook

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestSend_Phases(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	srv := a.serveTLS(t, tls.NoClientCert, func(http.ResponseWriter, *http.Request) {})
	s := sender(t, answering(t, dnsA("127.0.0.1")))
	to := target(t, s, Endpoint{URL: strings.Replace(srv.URL, "127.0.0.1", "receiver.example", 1), Credentials: Credentials{CA: a.pem}})
	o := s.Send(t.Context(), to, message())
	p := o.Phases
	if o.Class != ClassDelivered || p.DNS <= 0 || p.Connect <= 0 || p.TLS <= 0 || p.FirstByte <= 0 {
		t.Errorf("first: %+v", o)
	}
	if sum := p.DNS + p.Connect + p.TLS + p.FirstByte; sum > o.Duration {
		t.Errorf("the phases take %s, the attempt %s", sum, o.Duration)
	}
	o = s.Send(t.Context(), to, message())
	if p := o.Phases; o.Class != ClassDelivered || p.DNS != 0 || p.Connect != 0 || p.TLS != 0 || p.FirstByte <= 0 || p.FirstByte > o.Duration {
		t.Errorf("on a reused connection: %+v", o)
	}
}

// The phases of a failed attempt show where it hung.
func TestSend_PhasesOfFailures(t *testing.T) {
	t.Parallel()
	silent := serveRaw(t, func(conn net.Conn, _ http.Header) { _, _ = conn.Read(make([]byte, 1)) })
	for _, tt := range []struct {
		name   string
		url    string
		change func(*SenderConfig)
		in     func(Phases) time.Duration
		behind func(Phases) time.Duration // the one after it
	}{
		{
			"DNS", "https://slow.example/", both(short, answering(t, dnsSilence)),
			func(p Phases) time.Duration { return p.DNS }, func(p Phases) time.Duration { return p.Connect },
		},
		{
			"TLS", "https://" + silentTCP(t), short,
			func(p Phases) time.Duration { return p.TLS }, func(p Phases) time.Duration { return p.FirstByte },
		},
		{
			"answer", silent, short,
			func(p Phases) time.Duration { return p.FirstByte }, func(Phases) time.Duration { return 0 },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := sender(t, tt.change)
			o := s.Send(t.Context(), target(t, s, Endpoint{URL: tt.url}), message())
			if o.Class != ClassTimeout || tt.in(o.Phases) < 100*time.Millisecond || tt.behind(o.Phases) != 0 {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
}
