package webhook

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const testSecret = Secret("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// sender returns a Sender that may connect to loopback.
func sender(t *testing.T, change func(*SenderConfig)) *Sender {
	t.Helper()
	cfg := SenderConfig{AllowNetworks: loopback, AllowHTTP: true, Version: "1.2.3"}
	if change != nil {
		change(&cfg)
	}
	s, err := NewSender(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func receiver(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(handle)
	t.Cleanup(srv.Close)
	return srv
}

func target(t *testing.T, s *Sender, e Endpoint) *Target {
	t.Helper()
	target, err := s.Target(&e)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func message() *Message {
	return &Message{
		ID: "evt_2f6a", Event: "user.created", Tenant: "master", Body: []byte(`{"event":"user.created"}`),
		Attempt: 2, AttemptsLeft: 8, Occurred: time.UnixMilli(1_700_000_000_123),
	}
}

func TestSend_Request(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
	})
	s := sender(t, nil)
	to := target(t, s, Endpoint{
		Origin: OriginConfig, Key: "crm", URL: srv.URL + "/hook?key=1", Headers: map[string]string{"authorization": "Bearer x"},
		Secrets: []Secret{testSecret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	})
	o := s.Send(t.Context(), to, message())
	if o.Class != ClassDelivered || o.Status != 200 || o.Err != nil || o.Duration <= 0 {
		t.Fatalf("outcome = %+v", o)
	}
	if got.Method != "POST" || got.RequestURI != "/hook?key=1" || !bytes.Equal(body, message().Body) {
		t.Errorf("request = %s %s %q", got.Method, got.RequestURI, body)
	}
	for _, secret := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ""} {
		verifier, _ := standardwebhooks.NewWebhookRaw([]byte(testSecret))
		if secret != "" {
			verifier, _ = standardwebhooks.NewWebhook(secret)
		}
		if err := verifier.Verify(body, got.Header); err != nil {
			t.Errorf("verify: %v", err)
		}
	}
	timestamp := got.Header.Get("webhook-timestamp")
	fk, err := newSignatures([]Secret{testSecret})
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{
		"Authorization":             {"Bearer x"},
		"Content-Type":              {"application/json"},
		"Content-Length":            {"24"},
		"User-Agent":                {"iam-relay/1.2.3"},
		"Webhook-Id":                {"evt_2f6a"},
		"Webhook-Timestamp":         {timestamp},
		"Webhook-Signature":         got.Header["Webhook-Signature"],
		"X-Iam-Relay-Event":         {"user.created"},
		"X-Iam-Relay-Tenant":        {"master"},
		"X-Iam-Relay-Attempt":       {"2"},
		"X-Iam-Relay-Attempts-Left": {"8"},
		"X-Ferriskey-Timestamp":     {timestamp},
		"X-Ferriskey-Delivery-Id":   {to.deliveryID("evt_2f6a", message().Occurred)},
		"X-Ferriskey-Signature":     {fk.ferriskeySignature(timestamp, body)},
	}
	if diff := cmp.Diff(want, got.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestSend_WithoutSecretOrSafeTenant(t *testing.T) {
	t.Parallel()
	var got http.Header
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	s := sender(t, nil)
	m := message()
	m.Tenant, m.DeliveryID = "réalm\n", "0190a0b0-0000-7000-8000-000000000001"
	if o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), m); o.Class != ClassDelivered {
		t.Fatalf("outcome = %+v", o)
	}
	for _, name := range []string{"Webhook-Signature", "X-Ferriskey-Signature", "X-Iam-Relay-Tenant", "X-Idempotency-Key"} {
		if v, ok := got[name]; ok {
			t.Errorf("%s = %q was sent", name, v)
		}
	}
	if got.Get("X-Ferriskey-Delivery-Id") != m.DeliveryID || got.Get("Webhook-Id") != m.ID {
		t.Errorf("headers = %v", got)
	}
}

func TestTarget_DeliveryID(t *testing.T) {
	t.Parallel()
	s := sender(t, nil)
	a := target(t, s, Endpoint{Origin: OriginIAM, Key: "1", URL: "https://example.com"})
	b := target(t, s, Endpoint{Origin: OriginIAM, Key: "2", URL: "https://example.com"})
	at := time.UnixMilli(1_700_000_000_123)
	id := a.deliveryID("evt_1", at)
	// 2023-11-14T22:13:20.123Z in 48 bits of milliseconds, version 7, variant 10.
	if !strings.HasPrefix(id, "018bcfe5-687b-7") || len(id) != 36 || !strings.ContainsRune("89ab", rune(id[19])) {
		t.Errorf("%s is not a version 7 UUID for %s", id, at)
	}
	if id != a.deliveryID("evt_1", at) {
		t.Error("differs on the second attempt")
	}
	if id == b.deliveryID("evt_1", at) || id == a.deliveryID("evt_2", at) {
		t.Error("two deliveries have the same id")
	}
}

func TestTarget_InvalidEndpoint(t *testing.T) {
	t.Parallel()
	s := sender(t, nil)
	for want, e := range map[string]Endpoint{
		`webhook "crm": the URL is empty`: {Name: "crm"},
		"reserved":                        {URL: "https://example.com", Headers: map[string]string{"Host": "x"}},
		"base64":                          {URL: "https://example.com", Secrets: []Secret{"whsec_?"}},
	} {
		_, err := s.Target(&e)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if o := Invalid(err); o.Class.Verdict() != Permanent {
			t.Errorf("outcome = %+v", o)
		}
	}
}

func TestSend_ReusesConnections(t *testing.T) {
	t.Parallel()
	var connections atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("x"), drainBytes))
		_ = http.NewResponseController(w).Flush() // No Content-Length.
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	s := sender(t, nil)
	to := target(t, s, Endpoint{URL: srv.URL})
	for range 20 {
		if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
			t.Fatalf("outcome = %+v", o)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// A connection that the receiver closed while idle does not cost an attempt.
func TestSend_RepeatsRequestOnStaleConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			// Close after reading the request: to the client the idle connection has been closed.
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		}
	})
	s := sender(t, nil)
	to := target(t, s, Endpoint{URL: srv.URL, Secrets: []Secret{testSecret}})
	for range 2 {
		if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
			t.Fatalf("outcome = %+v", o)
		}
	}
	if n := requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestSend_HTTP2(t *testing.T) {
	t.Parallel()
	var proto atomic.Value
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { proto.Store(r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s := sender(t, trust(srv))
	if o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message()); o.Class != ClassDelivered {
		t.Fatalf("outcome = %+v", o)
	}
	if got := proto.Load(); got != "HTTP/2.0" {
		t.Errorf("protocol = %v", got)
	}
}

func trust(srv *httptest.Server) func(*SenderConfig) {
	return func(cfg *SenderConfig) {
		cfg.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	}
}

func TestSend_Canceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // Only then does the server notice that the client has gone.
		cancel()
		<-r.Context().Done()
	})
	s := sender(t, nil)
	o := s.Send(ctx, target(t, s, Endpoint{URL: srv.URL}), message())
	if o.Class != ClassCanceled || o.Class.Verdict() != Retry {
		t.Errorf("outcome = %+v", o)
	}
}
