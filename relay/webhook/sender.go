package webhook

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// SenderConfig configures a Sender. The zero value is valid.
type SenderConfig struct {
	// Timeout limits a whole attempt: DNS, connection, request and response headers. 0 means 15 s.
	Timeout time.Duration
	// ConnectTimeout limits DNS and the TCP connection within Timeout. 0 means 3 s.
	ConnectTimeout time.Duration
	// MaxIdlePerHost is the number of idle connections kept per host. It should be at least the number of concurrent requests to
	// the host: with Go's default of 2, a TLS delivery costs ten times the CPU. Values under 256 mean 256.
	MaxIdlePerHost int
	// MaxPayload is the size of the largest body to send, in bytes; 0 is no limit.
	MaxPayload int64
	// AllowNetworks lists the internal networks that requests may reach.
	AllowNetworks []netip.Prefix
	// AllowHTTP permits URLs without TLS.
	AllowHTTP bool
	// Proxy is the HTTP proxy for all requests, such as "http://user:password@host:port"; empty for none. See CheckProxy.
	Proxy string
	// Origin is the name of the relay in handshakes. Empty means the host's name.
	Origin string
	// CloudEventsSource is the start of the CloudEvents source. Empty means "iam-relay".
	CloudEventsSource string
	// Version is part of the User-Agent iam-relay/VERSION. Empty means "dev".
	Version string
	// RootCAs verifies receivers; nil means the system's.
	RootCAs *x509.CertPool
	// Resolver resolves names; nil means net.DefaultResolver.
	Resolver *net.Resolver
}

const (
	maxResponseHeaderBytes = 32 << 10
	idleConnTimeout        = 90 * time.Second
)

// Sender sends messages. It has one connection pool for all endpoints without TLS credentials, and one for each distinct set of TLS
// credentials. It is safe for concurrent use.
type Sender struct {
	timeout    time.Duration
	maxPayload int64
	allowHTTP  bool
	userAgent  string
	origin     string
	source     string
	guard      *guard
	rootCAs    *x509.CertPool
	transport  *http.Transport // for endpoints without TLS credentials
	transports pool[http.Transport]
	tokens     pool[tokens]
	clocks     receiverClocks

	newTransport func(*tls.Config) *http.Transport
}

// NewSender returns a Sender, or an error if an allowed network, the proxy, the origin or the CloudEvents source is invalid.
func NewSender(cfg SenderConfig) (*Sender, error) {
	g, err := newGuard(cfg.AllowNetworks)
	if err != nil {
		return nil, err
	}
	s := &Sender{
		timeout:    cmp.Or(cfg.Timeout, 15*time.Second),
		maxPayload: cfg.MaxPayload,
		allowHTTP:  cfg.AllowHTTP,
		userAgent:  "iam-relay/" + cmp.Or(cfg.Version, "dev"),
		origin:     cmp.Or(cfg.Origin, hostName()),
		source:     cmp.Or(cfg.CloudEventsSource, "iam-relay"),
		guard:      g,
		rootCAs:    cfg.RootCAs,
	}
	if !isSafeHeaderValue(s.userAgent) {
		return nil, fmt.Errorf("version %q cannot be sent in a header", cfg.Version)
	}
	if err := CheckOrigin(s.origin); err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	if err := CheckCloudEventsSource(s.source); err != nil {
		return nil, fmt.Errorf("CloudEvents source: %w", err)
	}
	c := &connector{
		direct: &net.Dialer{
			Timeout:  cmp.Or(cfg.ConnectTimeout, 3*time.Second),
			Control:  g.control,
			Resolver: cfg.Resolver,
		},
		timeout: s.timeout,
	}
	if c.proxy, err = newProxy(cfg.Proxy, c.direct); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	s.newTransport = func(tlsConfig *tls.Config) *http.Transport {
		return newTransport(c, tlsConfig, max(cfg.MaxIdlePerHost, 256))
	}
	s.transport = s.newTransport(&tls.Config{RootCAs: cfg.RootCAs})
	return s, nil
}

// Close closes idle connections. Those in use are closed when their attempts end.
func (s *Sender) Close() {
	s.transport.CloseIdleConnections()
	s.transports.each((*http.Transport).CloseIdleConnections)
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil || CheckOrigin(name) != nil {
		return "iam-relay"
	}
	return name
}

// newTransport returns a pool of connections that c opens.
func newTransport(c *connector, tlsConfig *tls.Config, idlePerHost int) *http.Transport {
	tlsConfig.MinVersion = tls.VersionTLS12
	tlsConfig.NextProtos = []string{"h2", "http/1.1"}
	t := &http.Transport{
		// Ignore HTTP_PROXY: the guard would check the proxy's address instead of the receiver's.
		Proxy:                  nil,
		DialContext:            c.dial,
		DialTLSContext:         c.dialTLS(tlsConfig),
		TLSClientConfig:        tlsConfig,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idlePerHost,
		MaxResponseHeaderBytes: maxResponseHeaderBytes,
		IdleConnTimeout:        idleConnTimeout,
		// All requests to a host share one HTTP/2 connection, and only pings detect that its peer has vanished.
		HTTP2: &http.HTTP2Config{SendPingTimeout: c.timeout, PingTimeout: 5 * time.Second},
	}
	if c.proxy != nil {
		// Requests without TLS are sent to the proxy as they are; for the others dialTLS opens a tunnel.
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if req.URL.Scheme == "http" {
				return c.proxy.url, nil
			}
			return nil, nil
		}
	}
	return t
}
