package admin

import (
	"net/http"
	"sync/atomic"
	"testing"
)

func TestReadiness(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		checks []Check
		status int
		body   string
	}{
		"nothing to check": {
			nil, http.StatusOK, `{"ready":true,"checks":[]}`,
		},
		"all passed": {
			[]Check{{Name: "source", OK: true}, {Name: "outbox", OK: true, Detail: "latency 1ms"}},
			http.StatusOK,
			`{"ready":true,"checks":[{"name":"source","ok":true},{"name":"outbox","ok":true,"detail":"latency 1ms"}]}`,
		},
		"one failed": {
			[]Check{{Name: "source", Detail: "connection refused"}, {Name: "outbox", OK: true}},
			http.StatusServiceUnavailable,
			`{"ready":false,"checks":[{"name":"source","ok":false,"detail":"connection refused"},{"name":"outbox","ok":true}]}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t, Config{Ready: func() []Check { return tt.checks }})
			status, body, header := get(t, url+"/readyz")
			if status != tt.status || body != tt.body+"\n" {
				t.Errorf("got %d %s, want %d %s", status, body, tt.status, tt.body)
			}
			if got := header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q, want no-store", got)
			}
		})
	}
}

func TestReadiness_ChecksEveryRequest(t *testing.T) {
	t.Parallel()
	var failed atomic.Bool
	url := start(t, Config{Ready: func() []Check { return []Check{{Name: "source", OK: !failed.Load()}} }})
	for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable, http.StatusOK} {
		failed.Store(want != http.StatusOK)
		if got, _, _ := get(t, url+"/readyz"); got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
}

// Restarting the relay does not bring back its database.
func TestHealth_DoesNotDependOnReadiness(t *testing.T) {
	t.Parallel()
	url := start(t, Config{Ready: func() []Check { return []Check{{Name: "source"}} }})
	if status, body, _ := get(t, url+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("got %d %q, want 200 ok", status, body)
	}
}
