package webhook

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkRequest measures the relay's own share of an attempt: headers and two signatures over 600 bytes.
func BenchmarkRequest(b *testing.B) {
	s, err := NewSender(SenderConfig{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	to, err := s.Target(&Endpoint{URL: "https://example.com/hook", Secrets: []Secret{testSecret}})
	if err != nil {
		b.Fatal(err)
	}
	m := message()
	m.Body = bytes.Repeat([]byte("x"), 600)
	b.ReportAllocs()
	for b.Loop() {
		to.request(b.Context(), m, m.Occurred)
	}
}

// BenchmarkSend measures whole attempts, including the receiver, over many concurrent connections.
func BenchmarkSend(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	s, err := NewSender(SenderConfig{AllowHTTP: true, AllowNetworks: loopback})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	to, err := s.Target(&Endpoint{URL: srv.URL, Secrets: []Secret{testSecret}})
	if err != nil {
		b.Fatal(err)
	}
	m := message()
	m.Body = bytes.Repeat([]byte("x"), 600)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if o := s.Send(b.Context(), to, m); o.Class != ClassDelivered {
				b.Errorf("outcome = %+v", o)
				return
			}
		}
	})
}
