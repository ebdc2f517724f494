package webhook

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

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

func TestSend_ErrorResponse(t *testing.T) {
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
	// A receiver whose clock is two hours slow.
	skewed := http.Header{"Retry-After": {"Sun, 01 Nov 2026 10:10:00 GMT"}, "Date": {"Sun, 01 Nov 2026 10:00:00 GMT"}}
	if got := retryAfter(skewed, now); got != 10*time.Minute {
		t.Errorf("with a slow clock: %s", got)
	}
}

// Retry-After is honored in every response other than 2xx.
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

// The headers determine the class: an endless or slow body neither changes it nor delays Send.
func TestSend_EndlessBody(t *testing.T) {
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
