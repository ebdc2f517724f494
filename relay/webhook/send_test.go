package webhook

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const testSecret = Secret("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

// sender returns a Sender that may reach the test's own receivers.
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
		Attempt: 2, Left: 8, Occurred: time.UnixMilli(1_700_000_000_123),
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
			t.Errorf("%s = %q is sent", name, v)
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
		t.Errorf("%s is not a UUID of version 7 for %s", id, at)
	}
	if id != a.deliveryID("evt_1", at) {
		t.Error("not the same on a second attempt")
	}
	if id == b.deliveryID("evt_1", at) || id == a.deliveryID("evt_2", at) {
		t.Error("shared by two deliveries")
	}
}

func TestTarget_Refuses(t *testing.T) {
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

func TestSend_StatusClasses(t *testing.T) {
	t.Parallel()
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.WriteHeader(status)
	})
	s := sender(t, nil)
	for status := 200; status <= 999; status++ {
		want, verdict := ClassHTTPOther, Retry
		switch {
		case status < 300:
			want, verdict = ClassDelivered, Delivered
		case status < 400:
			want = ClassHTTP3xx
		case status == 408:
			want = ClassHTTP408
		case status == 410:
			want, verdict = ClassHTTP410, Permanent
		case status == 429:
			want = ClassHTTP429
		case status < 500:
			want = ClassHTTP4xx
		case status < 600:
			want = ClassHTTP5xx
		}
		o := s.Send(t.Context(), target(t, s, Endpoint{URL: fmt.Sprintf("%s/%d", srv.URL, status)}), message())
		if o.Class != want || o.Class.Verdict() != verdict || o.Status != status {
			t.Errorf("status %d: outcome %+v, verdict %s", status, o, o.Class.Verdict())
		}
		if (o.Err == nil) != (want == ClassDelivered) {
			t.Errorf("status %d: error %v", status, o.Err)
		}
	}
}

func TestSend_SwitchingProtocols(t *testing.T) {
	t.Parallel()
	srv := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	})
	s := sender(t, nil)
	if o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message()); o.Class != ClassHTTPOther || o.Status != 101 {
		t.Errorf("outcome = %+v", o)
	}
}

func TestSend_BadAnswer(t *testing.T) {
	t.Parallel()
	srv := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(append([]byte("down\x00\xff "), strings.Repeat("é", 5000)...))
	})
	s := sender(t, nil)
	o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message())
	if o.Class != ClassHTTP5xx || o.RetryAfter != 2*time.Minute {
		t.Errorf("outcome = %+v", o)
	}
	want := "down\uFFFD\uFFFD " + strings.Repeat("é", 250)
	if got := string(o.Snippet); got != want || len(got) > MaxSnippetBytes {
		t.Errorf("snippet = %q (%d bytes)", got, len(got))
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "30": 30 * time.Second, "-5": 0, "+5": 0, "soon": 0, "1.5": 0, "86400": MaxRetryAfter,
		"99999999": MaxRetryAfter, "99999999999999999999": MaxRetryAfter,
		"Sun, 01 Nov 2026 12:10:00 GMT":   10 * time.Minute,
		"Sunday, 01-Nov-26 12:10:00 GMT":  10 * time.Minute, // the two obsolete forms of a date
		"Sun Nov  1 12:10:00 2026":        10 * time.Minute,
		"Sun, 01 Nov 2026 11:00:00 GMT":   0,
		"Fri, 01 Jan 2100 00:00:00 GMT":   MaxRetryAfter,
		"Sun, 01 Nov 2026 12:10:00 +0100": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", value, got, want)
		}
	}
	// A receiver whose clock is two hours behind.
	skewed := http.Header{"Retry-After": {"Sun, 01 Nov 2026 10:10:00 GMT"}, "Date": {"Sun, 01 Nov 2026 10:00:00 GMT"}}
	if got := retryAfter(skewed, now); got != 10*time.Minute {
		t.Errorf("with another clock: %s", got)
	}
}

// Retry-After counts in every answer that is not 2xx.
func TestSend_RetryAfter(t *testing.T) {
	t.Parallel()
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		status, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil {
			return
		}
		w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.WriteHeader(status)
	})
	s := sender(t, nil)
	for _, status := range []int{200, 202, 301, 307, 400, 401, 404, 408, 410, 413, 429, 500, 502, 503, 504, 799} {
		want := time.Hour
		if status < 300 {
			want = 0
		}
		o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL + "/" + strconv.Itoa(status)}), message())
		if o.RetryAfter < want-time.Second || o.RetryAfter > want+time.Second {
			t.Errorf("status %d: %s", status, o.RetryAfter)
		}
	}
}

func TestSend_RedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var reached atomic.Bool
	inner := receiver(t, func(http.ResponseWriter, *http.Request) { reached.Store(true) })
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
	})
	s := sender(t, nil)
	if o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message()); o.Class != ClassHTTP3xx {
		t.Errorf("outcome = %+v", o)
	}
	if reached.Load() {
		t.Error("the redirect was followed")
	}
}

// The verdict is known with the headers: a body that never ends, or drips in, changes nothing and holds nobody up.
func TestSend_BodyThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	for name, handle := range map[string]func(http.ResponseWriter, *http.Request){
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			for block := bytes.Repeat([]byte("x"), 1<<16); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		},
		"dripping": func(w http.ResponseWriter, r *http.Request) {
			for tick := time.NewTicker(20 * time.Millisecond); ; {
				if _, err := w.Write([]byte("x")); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-tick.C:
				case <-r.Context().Done():
					return
				}
			}
		},
		"announced": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		},
	} {
		for _, status := range []int{200, 500} {
			t.Run(fmt.Sprintf("%s %d", name, status), func(t *testing.T) {
				t.Parallel()
				srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
					if name == "announced" {
						w.Header().Set("Content-Length", "1000")
					}
					w.WriteHeader(status)
					handle(w, r)
				})
				s := sender(t, nil)
				o := s.Send(t.Context(), target(t, s, Endpoint{URL: srv.URL}), message())
				if o.Class != classOf(status) || o.Duration > 5*time.Second || len(o.Snippet) > MaxSnippetBytes {
					t.Errorf("outcome = %+v", o)
				}
			})
		}
	}
}

func TestSend_KeepsConnections(t *testing.T) {
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

// A receiver that closes idle connections must not cost an attempt.
func TestSend_RepeatsOnStaleConnection(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 2 {
			// Closed after the request was read: to the client the kept-alive connection just ends.
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
