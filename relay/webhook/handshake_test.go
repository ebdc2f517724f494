package webhook

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func origin(cfg *SenderConfig) { cfg.Origin = "relay.example.com" }

func TestHandshake_Request(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("WebHook-Allowed-Origin", "Relay.example.com")
		w.Header().Set("WebHook-Allowed-Rate", "120")
	})
	s := sender(t, origin)
	to := target(t, s, Endpoint{
		URL: srv.URL + "/hook?key=1", Headers: map[string]string{"X-Key": "k"}, Credentials: Credentials{Bearer: "token"},
		Secrets: []Secret{testSecret}, Options: Options{Handshake: true, CloudEvents: true, Rate: 0.51},
	})
	o := s.Handshake(t.Context(), to)
	if o.Class != ClassDelivered || o.Err != nil || o.Status != 200 || o.AllowedRate != 120 || o.Duration <= 0 {
		t.Fatalf("outcome = %+v", o)
	}
	if got.Method != "OPTIONS" || got.RequestURI != "/hook?key=1" || len(body) > 0 {
		t.Errorf("request = %s %s %q", got.Method, got.RequestURI, body)
	}
	want := http.Header{
		"Webhook-Request-Origin": {"relay.example.com"}, "Webhook-Request-Rate": {"31"}, "X-Key": {"k"},
		"Authorization": {"Bearer token"}, "User-Agent": {"iam-relay/1.2.3"},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}

	if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
		t.Fatalf("outcome = %+v", o)
	}
	if got.Method != "POST" || got.Header.Get("WebHook-Request-Origin") != "relay.example.com" || got.Header.Get("WebHook-Request-Rate") != "" {
		t.Errorf("delivery = %s %v", got.Method, got.Header)
	}
	plain := target(t, s, Endpoint{URL: srv.URL})
	if o := s.Send(t.Context(), plain, message()); o.Class != ClassDelivered || got.Header["Webhook-Request-Origin"] != nil {
		t.Errorf("outcome = %+v, headers %v", o, got.Header)
	}
}

func TestHandshake_Responses(t *testing.T) {
	t.Parallel()
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for _, name := range []string{"WebHook-Allowed-Origin", "WebHook-Allowed-Rate", "Retry-After", "Location"} {
			if q.Has(name) {
				w.Header().Set(name, q.Get(name))
			}
		}
		status := 0
		for _, c := range strings.TrimPrefix(r.URL.Path, "/") {
			status = status*10 + int(c-'0')
		}
		w.WriteHeader(status)
	})
	s := sender(t, origin)
	for _, tt := range []struct {
		path  string
		class Class
		text  string
		rate  int
	}{
		{"/200?WebHook-Allowed-Origin=*", ClassDelivered, "", 0},
		{"/204?WebHook-Allowed-Origin=relay.example.com&WebHook-Allowed-Rate=*", ClassDelivered, "", 0},
		{"/200?WebHook-Allowed-Origin=*&WebHook-Allowed-Rate=60", ClassDelivered, "", 60},
		{"/200?WebHook-Allowed-Origin=*&WebHook-Allowed-Rate=-1", ClassDelivered, "", 0},
		{"/200", ClassHandshakeRefused, "without WebHook-Allowed-Origin", 0},
		{"/200?WebHook-Allowed-Origin=other.example", ClassHandshakeRefused, "neither * nor relay.example.com", 0},
		{"/200?WebHook-Allowed-Origin=example.com", ClassHandshakeRefused, "neither", 0},
		{"/405?WebHook-Allowed-Origin=*", ClassHandshakeRefused, "status 405", 0},
		{"/410?WebHook-Allowed-Origin=*", ClassHandshakeRefused, "status 410", 0},
		{"/307?WebHook-Allowed-Origin=*&Location=/200", ClassHandshakeRefused, "status 307", 0},
		{"/503?Retry-After=60", ClassHandshakeRefused, "status 503", 0},
	} {
		o := s.Handshake(t.Context(), target(t, s, Endpoint{URL: srv.URL + tt.path, Options: Options{Handshake: true}}))
		if o.Class != tt.class || (o.Err == nil) != (tt.text == "") || o.Err != nil && !strings.Contains(o.Err.Error(), tt.text) || o.AllowedRate != tt.rate {
			t.Errorf("%s: outcome = %+v", tt.path, o)
		}
		if o.Err != nil && strings.Contains(o.Err.Error(), "other.example") {
			t.Errorf("%s: the error contains text of the receiver: %v", tt.path, o.Err)
		}
		if strings.Contains(tt.path, "Retry-After") && o.RetryAfter != time.Minute {
			t.Errorf("%s: retry after %s", tt.path, o.RetryAfter)
		}
		if tt.class == ClassHandshakeRefused && o.Class.Verdict() != Retry {
			t.Errorf("verdict = %s", o.Class.Verdict())
		}
	}
	if o := s.Handshake(t.Context(), target(t, s, Endpoint{URL: "http://" + closedPort(t)})); o.Class != ClassDelivered {
		t.Errorf("without the option: %+v", o)
	}
	if o := s.Handshake(t.Context(), target(t, s, Endpoint{URL: "http://" + closedPort(t), Options: Options{Handshake: true}})); o.Class != ClassConnectRefused {
		t.Errorf("unreachable receiver: %+v", o)
	}
}

func TestTarget_HandshakeID(t *testing.T) {
	t.Parallel()
	id := func(origin string, e Endpoint) string {
		s := sender(t, func(cfg *SenderConfig) { cfg.Origin = origin })
		return target(t, s, e).HandshakeID()
	}
	wanted := Options{Handshake: true}
	first := id("a.example", Endpoint{URL: "https://example.com/1", Options: wanted})
	if first == "" || first != id("a.example", Endpoint{URL: "https://example.com/1", Options: wanted, Secrets: []Secret{testSecret}}) {
		t.Errorf("id = %q", first)
	}
	for name, other := range map[string]string{
		"URL":    id("a.example", Endpoint{URL: "https://example.com/2", Options: wanted}),
		"origin": id("b.example", Endpoint{URL: "https://example.com/1", Options: wanted}),
		"none":   id("a.example", Endpoint{URL: "https://example.com/1"}),
	} {
		if other == first {
			t.Errorf("%s: the id did not change", name)
		}
	}
	if none := id("a.example", Endpoint{URL: "https://example.com/1"}); none != "" {
		t.Errorf("id = %q, want none without the option", none)
	}
}

func TestCheckOrigin(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { asked.Store(r.Header.Get("WebHook-Request-Origin")) })
	s := sender(t, nil)
	s.Handshake(t.Context(), target(t, s, Endpoint{URL: srv.URL, Options: Options{Handshake: true}}))
	if got, _ := asked.Load().(string); got == "" || got != hostName() {
		t.Errorf("origin = %q, want the host's name", got)
	}
	for _, bad := range []string{"a b", "a\nb", "é", "*", "a,b", strings.Repeat("a", 254)} {
		if _, err := NewSender(SenderConfig{Origin: bad}); err == nil {
			t.Errorf("%q is valid", bad)
		}
	}
}
