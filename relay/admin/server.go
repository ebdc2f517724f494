// Package admin is the relay's operating face: whether the process lives, whether it can do its work, and in numbers how
// well. It knows nothing of how the relay works; it is told what to ask.
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

// shutdownLimit bounds the wait for requests that are being answered when the relay stops.
const shutdownLimit = 3 * time.Second

// Config is what a Server needs. Only State may be nil.
type Config struct {
	// Listen is host:port; port 0 takes a free one.
	Listen string
	Logger *slog.Logger
	// Registry is served at /metrics. New adds to it the build, the Go runtime, the process and State.
	Registry *prometheus.Registry
	// Ready is called for each request of /readyz and must not block: it reports what is known, it does not go and look.
	Ready func() []Check
	// State is called for each scrape and must not block either.
	State   func() State
	Version string
}

// Server answers /healthz, /readyz and /metrics.
type Server struct {
	listener net.Listener
	http     *http.Server
	logger   *slog.Logger
}

// New binds the address, so that a port that is taken stops the relay at its start instead of leaving it unobserved.
// It serves nothing before Run; a Server that is never run must be closed.
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
		// One metric that cannot be collected must not hide the others from whoever is looking for the fault.
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: 8,
	}))
	return mux
}

// bindHint says what an operator can do about an address that cannot be bound.
func bindHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another process has this port, perhaps another iam-relay; stop it or set admin.listen to a free one"
	case errors.Is(err, syscall.EACCES):
		return "ports below 1024 need privileges; set admin.listen to a higher one"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have that address; set admin.listen to one of its own, or to :9464 for all"
	}
	return "set admin.listen to host:port, such as 127.0.0.1:9464"
}

// Addr is the bound address, with the port that was really taken.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx ends, then lets the requests at hand finish, for a few seconds at most. It returns nil after such an
// end, and an error if it can no longer serve.
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
		// A scraper that reads slowly is no reason to report a clean stop as a failed one.
		s.logger.WarnContext(ctx, "admin requests were cut off", slog.Duration("after", shutdownLimit))
		return s.http.Close()
	}
	return err
}

// Close releases the address of a Server that will not be run.
func (s *Server) Close() error { return s.listener.Close() }
