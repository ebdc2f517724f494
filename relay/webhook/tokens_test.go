package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tokenServer issues the tokens token-1, token-2 and so on.
type tokenServer struct {
	url string

	mu      sync.Mutex
	given   int
	asked   int
	expires int // seconds; 0 names no expiry
	forms   []string
	answer  http.HandlerFunc // instead of a token, if set
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	ts := &tokenServer{expires: 3600}
	srv := httptest.NewServer(ts)
	t.Cleanup(srv.Close)
	ts.url = srv.URL
	return ts
}

func (ts *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.asked++
	if ts.answer != nil {
		ts.answer(w, r)
		return
	}
	_ = r.ParseForm()
	id, secret, _ := r.BasicAuth()
	ts.forms = append(ts.forms, fmt.Sprintf("%s:%s %s", id, secret, r.PostForm.Encode()))
	ts.given++
	token := map[string]any{"access_token": fmt.Sprintf("token-%d", ts.given), "token_type": "Bearer"}
	if ts.expires != 0 {
		token["expires_in"] = ts.expires
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(token)
}

func (ts *tokenServer) requests() int {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.asked
}

func (ts *tokenServer) endpoint(url string) Endpoint {
	return Endpoint{URL: url, Credentials: Credentials{OAuth2: &OAuth2{
		TokenURL: ts.url + "/token?key=sesame", ClientID: "relay", ClientSecret: "sesame", Scopes: []string{"a", "b"},
	}}}
}

func TestSend_OAuth2(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Get("Authorization"))
	})
	ts := newTokenServer(t)
	s := sender(t, nil)
	e := ts.endpoint(srv.URL)
	e.Options.Handshake = true
	to := target(t, s, e)
	var attempts sync.WaitGroup
	for range 20 {
		attempts.Go(func() {
			if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
	attempts.Wait()
	if o := s.Handshake(t.Context(), to); o.Class != ClassHandshakeRefused {
		t.Errorf("outcome = %+v", o)
	}
	if want := slices.Repeat([]string{"Bearer token-1"}, 21); !slices.Equal(seen, want) {
		t.Errorf("tokens = %q", seen)
	}
	if want := []string{"relay:sesame grant_type=client_credentials&scope=a+b"}; !slices.Equal(ts.forms, want) {
		t.Errorf("requests = %q, want %q", ts.forms, want)
	}
}

// A token that is about to expire is not reused.
func TestSend_OAuth2Expiry(t *testing.T) {
	t.Parallel()
	var seen []string
	srv := receiver(t, func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.Header.Get("Authorization")) })
	ts := newTokenServer(t)
	ts.expires = 1
	s := sender(t, nil)
	to := target(t, s, ts.endpoint(srv.URL))
	for range 2 {
		if o := s.Send(t.Context(), to, message()); o.Class != ClassDelivered {
			t.Fatalf("outcome = %+v", o)
		}
	}
	if want := []string{"Bearer token-1", "Bearer token-2"}; !slices.Equal(seen, want) {
		t.Errorf("tokens = %q, want %q", seen, want)
	}
}

// After a 401 the next attempt fetches a new token, but if the endpoint refuses that one too, the next fetch is delayed.
func TestSend_OAuth2RefusedToken(t *testing.T) {
	t.Parallel()
	var good atomic.Value
	good.Store("Bearer token-2")
	srv := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != good.Load() {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	ts := newTokenServer(t)
	s := sender(t, nil)
	to := target(t, s, ts.endpoint(srv.URL))
	for _, want := range []Class{ClassHTTP4xx, ClassDelivered, ClassDelivered} {
		if o := s.Send(t.Context(), to, message()); o.Class != want || o.Class == ClassHTTP4xx && o.Status != 401 {
			t.Errorf("outcome = %+v, want %s", o, want)
		}
	}
	good.Store("Bearer none")
	for range 3 {
		if o := s.Send(t.Context(), to, message()); o.Status != 401 {
			t.Errorf("outcome = %+v", o)
		}
	}
	if n := ts.requests(); n != 2 {
		t.Errorf("%d tokens were requested, want 2", n)
	}
	to.tokens.mu.Lock()
	to.tokens.renewed = to.tokens.renewed.Add(-2 * minTokenLifetime) // time passes
	to.tokens.mu.Unlock()
	for range 3 {
		s.Send(t.Context(), to, message())
	}
	if n := ts.requests(); n != 3 {
		t.Errorf("%d tokens were requested, want 3", n)
	}
}

func TestSend_OAuth2Failures(t *testing.T) {
	t.Parallel()
	var received atomic.Int32
	srv := receiver(t, func(http.ResponseWriter, *http.Request) { received.Add(1) })
	answers := func(status int, contentType, body string) func(*tokenServer) {
		return func(ts *tokenServer) {
			ts.answer = func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", contentType)
				w.Header().Set("Retry-After", "60")
				w.Header().Set("Location", srv.URL)
				w.WriteHeader(status)
				_, _ = fmt.Fprint(w, strings.ReplaceAll(body, "SECRET", r.Header.Get("Authorization")+" sesame"))
			}
		}
	}
	const asJSON = "application/json"
	for _, tt := range []struct {
		name   string
		server func(*tokenServer)
		change func(*SenderConfig)
		text   string
	}{
		{"wrong secret", answers(401, asJSON, `{"error":"invalid_client","error_description":"not SECRET"}`), nil, "status 401, invalid_client"},
		{"unknown error", answers(400, asJSON, `{"error":"SECRET"}`), nil, "status 400"},
		{"error with 200", answers(200, asJSON, `{"error":"invalid_scope"}`), nil, "status 200, invalid_scope"},
		{"down", answers(503, "text/html", "SECRET"), nil, "status 503"},
		{"redirect", answers(307, asJSON, ""), nil, "status 307"},
		{"no JSON", answers(200, asJSON, "SECRET"), nil, "the response of the token server contains no token"},
		{"no token", answers(200, asJSON, `{"token":"SECRET"}`), nil, "the response of the token server contains no token"},
		{"token with a line break", answers(200, asJSON, `{"access_token":"a\r\nX-Sesame: SECRET"}`), nil, "cannot be sent in a header"},
		{"not there", func(ts *tokenServer) { ts.url = "http://" + closedPort(t) }, nil, "connection refused"},
		{"hangs", func(ts *tokenServer) { ts.url = "http://" + silentTCP(t) }, short, "no response within 300ms"},
		{"internal address", func(ts *tokenServer) { ts.url = "http://inside.example" }, answering(t, dnsA("10.0.0.7")), "10.0.0.7 is an internal"},
		{"unknown name", func(ts *tokenServer) { ts.url = "http://nowhere.invalid" }, answering(t, dnsNoName), "look up nowhere.invalid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ts := newTokenServer(t)
			tt.server(ts)
			s := sender(t, tt.change)
			o := s.Send(t.Context(), target(t, s, ts.endpoint(srv.URL)), message())
			if o.Class != ClassTokenError || o.Class.Verdict() != Retry || o.Err == nil || o.Status != 0 ||
				!strings.HasPrefix(o.Err.Error(), "get a token: ") || !strings.Contains(o.Err.Error(), tt.text) {
				t.Errorf("outcome = %+v, want one with %q", o, tt.text)
			}
			if text := strings.ToLower(fmt.Sprintf("%+v %#v", o, o.Err)); strings.Contains(text, "sesame") || strings.Contains(text, "basic") {
				t.Errorf("the outcome contains a secret: %s", text)
			}
			if tt.name == "down" && o.RetryAfter != time.Minute {
				t.Errorf("retry after %s", o.RetryAfter)
			}
		})
	}
	if n := received.Load(); n != 0 {
		t.Errorf("%d deliveries without a token", n)
	}
}

// Deliveries that wait for the same token share the error of the fetch.
func TestSend_OAuth2FailureIsShared(t *testing.T) {
	t.Parallel()
	const waiting = 20
	ts := newTokenServer(t)
	s := sender(t, nil)
	to := target(t, s, ts.endpoint("http://127.0.0.1:1"))
	ts.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	// Hold the semaphore until all deliveries wait.
	to.tokens.fetching <- struct{}{}
	var attempts sync.WaitGroup
	var began atomic.Int32
	for range waiting {
		attempts.Go(func() {
			began.Add(1)
			if o := s.Send(t.Context(), to, message()); o.Class != ClassTokenError {
				t.Errorf("outcome = %+v", o)
			}
		})
	}
	for began.Load() < waiting {
		runtime.Gosched()
	}
	<-to.tokens.fetching
	attempts.Wait()
	// oauth2 sends each request twice, once per authentication style. Deliveries that start to wait after the first failure fetch again.
	if n := ts.requests(); n > waiting {
		t.Errorf("the token server got %d requests for %d deliveries", n, waiting)
	}
}

func TestSend_OAuth2Canceled(t *testing.T) {
	t.Parallel()
	ts := newTokenServer(t)
	ts.url = "http://" + silentTCP(t)
	s := sender(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if o := s.Send(ctx, target(t, s, ts.endpoint("http://127.0.0.1:1")), message()); o.Class != ClassCanceled {
		t.Errorf("outcome = %+v", o)
	}
}
