package webhook

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkRequest is what the relay adds to an attempt: headers and two signatures over 600 bytes.
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

// BenchmarkSend is a whole attempt, the receiver's side included, over many connections at once.
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
