package webhook

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// SenderConfig configures a Sender. Its zero value is usable.
type SenderConfig struct {
	// Timeout bounds a whole attempt: name, connection, request and answer. 0 means 15 s.
	Timeout time.Duration
	// ConnectTimeout bounds resolving and connecting within it. 0 means 3 s.
	ConnectTimeout time.Duration
	// MaxIdlePerHost is how many idle connections to one host are kept. It should be at least the number of requests in
	// flight to it: with Go's default of 2 a TLS delivery costs ten times the CPU. Less than 256 means 256.
	MaxIdlePerHost int
	// AllowNetworks are the internal networks that may be reached.
	AllowNetworks []netip.Prefix
	// AllowHTTP allows URLs without TLS.
	AllowHTTP bool
	// Version goes into the User-Agent, as iam-relay/VERSION. Empty means "dev".
	Version string
	// RootCAs verify receivers; nil means the system's.
	RootCAs *x509.CertPool
	// Resolver resolves their names; nil means net.DefaultResolver.
	Resolver *net.Resolver
}

const (
	maxResponseHeaderBytes = 32 << 10
	idleConnTimeout        = 90 * time.Second
)

// Sender sends messages over one pool of connections. It is safe for concurrent use.
type Sender struct {
	timeout   time.Duration
	allowHTTP bool
	userAgent string
	guard     *guard
	transport *http.Transport
}

// NewSender returns a Sender. It is an error if an allowed network is none, or is everything.
func NewSender(cfg SenderConfig) (*Sender, error) {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return nil, err
	}
	s := &Sender{
		timeout:   cmp.Or(cfg.Timeout, 15*time.Second),
		allowHTTP: cfg.AllowHTTP,
		userAgent: "iam-relay/" + cmp.Or(cfg.Version, "dev"),
		guard:     g,
	}
	if !headerSafe(s.userAgent) {
		return nil, fmt.Errorf("version %q cannot be sent in a header", cfg.Version)
	}
	dialer := &net.Dialer{
		Timeout:  cmp.Or(cfg.ConnectTimeout, 3*time.Second),
		Control:  g.control,
		Resolver: cfg.Resolver,
	}
	tlsConfig := &tls.Config{
		MinVersion: tls.VersionTLS12,
		RootCAs:    cfg.RootCAs,
		NextProtos: []string{"h2", "http/1.1"},
	}
	s.transport = &http.Transport{
		// No proxy, not even from the environment: the guard would see the proxy's address instead of the receiver's.
		Proxy:       nil,
		DialContext: dialer.DialContext,
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dialTLS(ctx, dialer, tlsConfig, s.timeout, network, addr)
		},
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    max(cfg.MaxIdlePerHost, 256),
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		IdleConnTimeout:        idleConnTimeout,
		// All requests to a host share one HTTP/2 connection. Should its peer vanish, only a ping can tell.
		HTTP2: &http.HTTP2Config{SendPingTimeout: s.timeout, PingTimeout: 5 * time.Second},
	}
	return s, nil
}

// Close closes idle connections; those in use are closed as their attempts end.
func (s *Sender) Close() { s.transport.CloseIdleConnections() }

// dialTLS does what Transport does by itself, except that it tells the errors of the handshake from those of the
// exchange. The handshake has a deadline of its own because Transport goes on connecting after the request that wanted
// the connection has ended.
func dialTLS(ctx context.Context, dialer *net.Dialer, cfg *tls.Config, timeout time.Duration, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	raw, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	cfg = cfg.Clone()
	cfg.ServerName = host
	conn := tls.Client(raw, cfg)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // The handshake's error is the one to tell.
		return nil, &handshakeError{err}
	}
	return conn, nil
}
