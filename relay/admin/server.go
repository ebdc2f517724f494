// Package admin serves health, readiness and metrics over HTTP. It imports nothing of the relay's inner packages: the caller
// passes functions that report the current state.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
)

// shutdownLimit bounds how long shutdown waits for requests in progress.
const shutdownLimit = 3 * time.Second

// Config is what a Server needs. Only Gauges may be nil.
type Config struct {
	// Listen is host:port; port 0 chooses a free one.
	Listen string
	Logger *slog.Logger
	// Registry is served at /metrics. New adds build, Go runtime and process metrics to it, and Gauges.
	Registry *prometheus.Registry
	// Ready is called for each request to /readyz. It must not block: it returns what is known, without querying a database.
	Ready func() []Check
	// Gauges is called for each scrape and must not block.
	Gauges  func() Gauges
	Version string
}

// Server answers /healthz, /readyz and /metrics.
type Server struct {
	listener net.Listener
	http     *http.Server
	logger   *slog.Logger
}

// New binds the address, so that the relay fails at startup if the port is in use, rather than running without metrics.
// The Server accepts no requests before Run. A Server that is never run must be closed.
func New(c Config) (*Server, error) {
	if err := register(c); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin: %w: %s", err, bindHint(err))
	}
	return &Server{
		listener: listener,
		logger:   c.Logger,
		http: &http.Server{
			Handler:           routes(c),
			ReadHeaderTimeout: 5 * time.Second,
			ReadTimeout:       5 * time.Second,
			WriteTimeout:      15 * time.Second,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			ErrorLog:          slog.NewLogLogger(c.Logger.Handler(), slog.LevelWarn),
		},
	}, nil
}

func routes(c Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", serveHealth)
	mux.Handle("GET /readyz", readiness(c.Ready))
	mux.Handle("GET /metrics", promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{
		Registry: c.Registry,
		ErrorLog: slog.NewLogLogger(c.Logger.Handler(), slog.LevelError),
		// One metric that cannot be collected must not hide the others.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
	}))
	return mux
}

// bindHint returns what the operator can do about an address that cannot be bound.
func bindHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process uses this port, perhaps another iam-relay; stop it or set admin.listen to a free port"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 require privileges; set admin.listen to a higher port"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address; set admin.listen to one that it has, or to :9464 for all addresses"
	}
	return "set admin.listen to host:port, such as 127.0.0.1:9464"
}

// Addr is the bound address, including the port that was chosen for port 0.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then waits up to shutdownLimit for requests in progress and returns nil. It returns an error if
// it can no longer serve.
func (s *Server) Run(ctx context.Context) error {
	group, running := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve admin on %s: %w", s.Addr(), err)
		}
		return nil
	})
	group.Go(func() error {
		<-running.Done()
		return s.stop(context.WithoutCancel(ctx))
	})
	return group.Wait()
}

func (s *Server) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shutdownLimit)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		// A slow scraper does not turn a clean shutdown into a failed one.
		s.logger.WarnContext(ctx, "admin server: requests still in progress were closed at shutdown", slog.Duration("after", shutdownLimit))
		return s.http.Close()
	}
	return err
}

// Close releases the address of a Server that will not be run.
func (s *Server) Close() error { return s.listener.Close() }
