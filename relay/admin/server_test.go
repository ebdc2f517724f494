package admin

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noChecks() []Check { return nil }

// start runs a Server on a free port until the test ends, and returns its URL.
func start(t *testing.T, c Config) string {
	t.Helper()
	c.Listen = "127.0.0.1:0"
	c.Logger = slog.New(slog.DiscardHandler)
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Ready == nil {
		c.Ready = noChecks
	}
	server, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run after its context ended: %v", err)
		}
	})
	return "http://" + server.Addr().String()
}

// get uses a new connection, so that no idle one outlives the test.
func get(t *testing.T, url string) (status int, body string, header http.Header) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), response.Header
}

func TestServer_Paths(t *testing.T) {
	t.Parallel()
	url := start(t, Config{})
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/metrics": http.StatusOK,
		"/": http.StatusNotFound, "/debug/pprof/": http.StatusNotFound, "/healthz/x": http.StatusNotFound,
	} {
		if got, _, _ := get(t, url+path); got != want {
			t.Errorf("GET %s = %d, want %d", path, got, want)
		}
	}
}

func TestNew_AddressInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = New(Config{
		Listen: taken.Addr().String(), Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Ready: noChecks,
	})
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("error %v, want EADDRINUSE", err)
	}
	for _, part := range []string{taken.Addr().String(), "set admin.listen"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not contain %q", err, part)
		}
	}
}

func TestNew_BadAddress(t *testing.T) {
	t.Parallel()
	_, err := New(Config{
		Listen: "9464", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Ready: noChecks,
	})
	if err == nil || !strings.Contains(err.Error(), "host:port") {
		t.Fatalf("error %v, want one that contains host:port", err)
	}
}

func TestServer_RunAfterCancelReleasesTheAddress(t *testing.T) {
	t.Parallel()
	server, err := New(Config{
		Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(), Ready: noChecks,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Run(ctx); err != nil {
		t.Fatal(err)
	}
	again, err := net.Listen("tcp", server.Addr().String())
	if err != nil {
		t.Fatalf("the address is still in use: %v", err)
	}
	again.Close()
}

// A request in progress at shutdown is completed.
func TestServer_ShutdownCompletesRequests(t *testing.T) {
	t.Parallel()
	asked, answer := make(chan struct{}), make(chan struct{})
	server, err := New(Config{
		Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
		Ready: func() []Check {
			close(asked)
			<-answer
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	go func() {
		<-asked
		cancel()
		for refused := false; !refused; { // until shutdown has begun
			conn, err := net.Dial("tcp", server.Addr().String())
			if refused = err != nil; !refused {
				conn.Close()
			}
		}
		close(answer)
	}()
	if got, _, _ := get(t, "http://"+server.Addr().String()+"/readyz"); got != http.StatusOK {
		t.Errorf("status %d, want 200", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
